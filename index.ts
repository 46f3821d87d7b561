import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { AdminUser } from "./components/AdminUser";
import { BaseSystem } from "./components/BaseSystem";
import { HealthCheck } from "./components/HealthCheck";
import { HomeserverConfig, SYNAPSE_PORT } from "./components/HomeserverConfig";
import { nginxSize } from "./components/homeserverSettings";
import { Host } from "./components/Host";
import { NginxProxy } from "./components/NginxProxy";
import { PostgresDb } from "./components/PostgresDb";
import { refuseServerNameChange } from "./components/serverName";
import { fingerprint } from "./components/shell";
import { SynapseVenv } from "./components/SynapseVenv";
import { SystemdService } from "./components/SystemdService";
import { SystemUser } from "./components/SystemUser";
import { TlsCertificate } from "./components/TlsCertificate";
import { WellKnown } from "./components/WellKnown";
import { readKeyFile, readSettings } from "./config";

/** The program: what a stack's settings say, on the machine that they name. */
export = async () => {
  const { serverName, domains, dbPassword, ...settings } = readSettings();
  await refuseServerNameChange(serverName);
  const publicBaseUrl = `https://${domains[0]}`;
  const synapseUrl = `http://127.0.0.1:${SYNAPSE_PORT}`;
  const { privateKeyFile, ...address } = settings.host;

  const host = new Host("host", {
    ...address,
    ...(privateKeyFile !== undefined && { privateKey: readKeyFile(privateKeyFile) }),
    stack: `${pulumi.getProject()}/${pulumi.getStack()}`,
    synapseVersion: settings.synapse.version,
  });
  const { facts } = host;

  const user = new SystemUser("synapse-user", {
    host,
    userName: "synapse",
    home: "/opt/synapse",
    privateFolders: ["media_store", "secrets", "staged", "last-good"],
  });
  const venv = new SynapseVenv("synapse", {
    host,
    user,
    ...settings.synapse,
    python: facts.python,
    pythonPackage: facts.pythonPackage,
  });
  const database = new PostgresDb("database", { host, stream: facts.postgresqlStream, password: dbPassword });
  const base = new BaseSystem("base", {
    host,
    open: ["http", "https"],
    selinuxBooleans: ["httpd_can_network_relay"],
  });

  const config = new HomeserverConfig(
    "homeserver",
    {
      host,
      user,
      serverName,
      publicBaseUrl,
      database: { ...database.address, password: dbPassword },
      release: venv.release,
      logLevel: settings.synapse.logLevel,
      settings: settings.homeserver,
    },
    { dependsOn: venv },
  );
  const service = new SystemdService(
    "synapse-service",
    {
      host,
      unit: "synapse",
      description: `Matrix homeserver of ${serverName}`,
      user,
      command: `${venv.link}/bin/python -m synapse.app.homeserver --config-path=${config.path}`,
      writable: [`${user.home}/media_store`],
      after: ["postgresql.service"],
      files: config.files,
      link: venv.link,
      release: venv.release,
      restartOn: config.secretsRevision,
      healthUrl: `${synapseUrl}/health`,
    },
    { dependsOn: [config, database] },
  );

  const certificate = new TlsCertificate("tls", {
    host,
    names: [...new Set([...domains, serverName])],
    source: settings.tls,
  });
  const wellKnown = new WellKnown("well-known", { host, publicBaseUrl });
  const proxy = new NginxProxy("nginx", {
    host,
    stream: facts.nginxStream,
    ipv6: facts.ipv6,
    serverName,
    domains,
    ...settings.nginx,
    upstreamPort: SYNAPSE_PORT,
    maxBodySize: nginxSize(settings.homeserver.max_upload_size),
    certificate,
    wellKnown,
  });

  const adminPassword = settings.admin.password
    ? pulumi.secret(settings.admin.password)
    : new random.RandomPassword("admin-password", { length: 32, special: false }).result;
  const admin = new AdminUser(
    "admin",
    {
      host,
      user,
      localpart: settings.admin.localpart,
      serverName,
      password: adminPassword,
      config: config.path,
      link: venv.link,
      synapseUrl,
      database: database.address,
    },
    { dependsOn: service },
  );
  new HealthCheck(
    "health",
    {
      host,
      serverName,
      publicBaseUrl,
      caPath: certificate.caPath,
      revision: pulumi.all([service.revision, proxy.revision]).apply((parts) => fingerprint(...parts)),
    },
    { dependsOn: [service, proxy, base] },
  );

  return {
    /** The name in user ids. */
    serverName,
    /** The address that clients use. */
    baseUrl: publicBaseUrl,
    /** The administrator, and its password as the stack set it (secret). */
    adminUserId: admin.userId,
    adminPassword,
    /** PEM; to be given to clients where the certificate is of the machine's own making, else empty. */
    caCertificate: certificate.caCertificate,
    /** The machine. */
    hostAddress: settings.host.address,
    /** What an operator does next. */
    nextSteps: nextSteps(serverName, domains, settings.tls.mode, settings.host.address),
  };
};

function nextSteps(serverName: string, domains: readonly string[], tlsMode: string, address: string): string {
  return [
    `Let DNS name ${address} for ${[...new Set([...domains, serverName])].join(", ")} (A or AAAA records).`,
    `Let the world reach ports 80 and 443 of ${address}.`,
    ...(tlsMode === "selfsigned"
      ? [
          "Give clients the authority: pulumi stack output caCertificate > ca.pem; set tls.mode for a certificate that everybody trusts.",
        ]
      : []),
    "Log in as adminUserId with: pulumi stack output adminPassword --show-secrets",
  ]
    .map((step, index) => `${index + 1}. ${step}`)
    .join("\n");
}
