import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { AdminUser } from "../../../components/AdminUser";
import { BaseSystem } from "../../../components/BaseSystem";
import { HealthCheck } from "../../../components/HealthCheck";
import { HomeserverConfig, SYNAPSE_PORT } from "../../../components/HomeserverConfig";
import { Host } from "../../../components/Host";
import { NginxProxy } from "../../../components/NginxProxy";
import { PostgresDb } from "../../../components/PostgresDb";
import { Redis } from "../../../components/Redis";
import { SchemaCheck } from "../../../components/SchemaCheck";
import { SynapseVenv } from "../../../components/SynapseVenv";
import { SynapseWorker } from "../../../components/SynapseWorker";
import { SystemdService } from "../../../components/SystemdService";
import { SystemUser } from "../../../components/SystemUser";
import { TlsCertificate } from "../../../components/TlsCertificate";
import { WellKnown } from "../../../components/WellKnown";
import { dutiesOf, workersOf } from "../../../components/workers";

const VERSION = "1.163.2";

/** What the project's own program makes for one machine. The machines do not exist: 192.0.2.0/24 is nobody's. */
function homeserver(number: number, generic: number): void {
  const named = (name: string) => `h${number}-${name}`;
  const serverName = `h${number}.example.com`;
  const domains = [`matrix.${serverName}`, `synapse.${serverName}`];
  const publicBaseUrl = `https://matrix.${serverName}`;
  const synapseUrl = `http://127.0.0.1:${SYNAPSE_PORT}`;
  const password = new random.RandomPassword(named("database-password"), { length: 32 }).result;

  const host = new Host(named("host"), {
    address: `192.0.2.${number}`,
    hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAgU5JE9enyH2FMx2koR2hkbUM8k8msT38Go880QZQYe",
    stack: `many/${number}`,
    synapseVersion: VERSION,
  });
  const { facts } = host;
  const user = new SystemUser(named("user"), {
    host,
    userName: "synapse",
    home: "/opt/synapse",
    privateFolders: ["media_store", "secrets"],
  });
  const venv = new SynapseVenv(named("synapse"), {
    host,
    user,
    version: VERSION,
    python: facts.python,
    pythonPackage: facts.pythonPackage,
  });
  const database = new PostgresDb(named("database"), { host, stream: facts.postgresqlStream, password });
  const base = new BaseSystem(named("base"), {
    host,
    open: ["http", "https"],
    selinuxBooleans: ["httpd_can_network_relay"],
  });
  const workers = workersOf({ generic, federationSender: 0, pusher: 0, media: 0, backgroundTasks: 0 });
  const redis = generic > 0 ? new Redis(named("redis"), { host, unit: "synapse-redis" }) : undefined;
  const config = new HomeserverConfig(
    named("homeserver"),
    {
      host,
      user,
      serverName,
      publicBaseUrl,
      database: { ...database.address, password },
      release: venv.release,
      ...(redis && { workers: { ...dutiesOf(workers), redis } }),
    },
    { dependsOn: venv },
  );
  const schema = new SchemaCheck(
    named("schema"),
    { host, user, release: venv.release, version: VERSION, database: database.address, otherwise: database.advice },
    { dependsOn: [config, database] },
  );
  const service = new SystemdService(
    named("service"),
    {
      host,
      unit: "synapse",
      description: `Matrix homeserver of ${serverName}`,
      user,
      command: `${venv.link}/bin/python -m synapse.app.homeserver --config-path=${config.path}`,
      writable: [`${user.home}/media_store`],
      files: config.files,
      link: venv.link,
      release: venv.release,
      restartOn: config.secretsRevision,
      healthUrl: `${synapseUrl}/health`,
    },
    { dependsOn: [config, schema, ...(redis ? [redis] : [])] },
  );
  const workerServices = workers.map(
    (worker) =>
      new SynapseWorker(
        named(`worker-${worker.name}`),
        { host, user, worker, mainUnit: "synapse", link: venv.link, config: config.path },
        { dependsOn: service },
      ),
  );
  const certificate = new TlsCertificate(named("tls"), {
    host,
    names: [...domains, serverName],
    source: { mode: "selfsigned" },
  });
  const wellKnown = new WellKnown(named("well-known"), { host, publicBaseUrl });
  const proxy = new NginxProxy(
    named("nginx"),
    {
      host,
      stream: facts.nginxStream,
      ipv6: facts.ipv6,
      serverName,
      domains,
      upstreamPort: SYNAPSE_PORT,
      workers,
      certificate,
      wellKnown,
    },
    { dependsOn: workerServices },
  );
  new AdminUser(
    named("admin"),
    {
      host,
      user,
      localpart: "admin",
      serverName,
      password: new random.RandomPassword(named("admin-password"), { length: 32 }).result,
      config: config.path,
      link: venv.link,
      synapseUrl,
      database: database.address,
    },
    { dependsOn: service },
  );
  new HealthCheck(
    named("health"),
    {
      host,
      serverName,
      publicBaseUrl,
      servesApex: true,
      caPath: certificate.caPath,
      workers: workers.map(({ port }, index) => ({
        unit: workerServices[index]?.unit ?? "",
        port,
        servesClients: true,
      })),
      revision: pulumi.all([service.revision, proxy.revision]).apply((parts) => parts.join()),
    },
    { dependsOn: [service, proxy, base, ...workerServices] },
  );
}

const settings = new pulumi.Config();
const workers = settings.requireNumber("workers");
for (let number = 1; number <= settings.requireNumber("homeservers"); number++) homeserver(number, workers);
