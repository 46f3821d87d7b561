import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { AcmeCertificate } from "./components/AcmeCertificate";
import { AdminUser } from "./components/AdminUser";
import { Adoption } from "./components/Adoption";
import { Backup } from "./components/Backup";
import { BackupStore } from "./components/BackupStore";
import { BaseSystem } from "./components/BaseSystem";
import { loginCheck, type DatabaseAddress } from "./components/DatabaseAddress";
import { Deployed } from "./components/deployed";
import { ExternalDatabase } from "./components/ExternalDatabase";
import { HealthCheck } from "./components/HealthCheck";
import { HomeserverConfig, SYNAPSE_PORT } from "./components/HomeserverConfig";
import { nginxSize } from "./components/homeserverSettings";
import { Host } from "./components/Host";
import { LastBackup } from "./components/LastBackup";
import { lastBackupWarning } from "./components/backupWarning";
import { nextSteps } from "./components/nextSteps";
import type { Machine } from "./components/Machine";
import { NginxProxy } from "./components/NginxProxy";
import { plainly } from "./components/plainly";
import { PostgresDb } from "./components/PostgresDb";
import { warnOfSilence } from "./components/reach";
import { Redis } from "./components/Redis";
import { Remains } from "./components/Remains";
import { refuseServerNameChange } from "./components/serverName";
import { SchemaCheck } from "./components/SchemaCheck";
import { fingerprint } from "./components/shell";
import { SynapseVenv } from "./components/SynapseVenv";
import { SynapseWorker } from "./components/SynapseWorker";
import { keptSet, SystemdService } from "./components/SystemdService";
import { SystemUser } from "./components/SystemUser";
import { PKI, TlsCertificate, WEBROOT } from "./components/TlsCertificate";
import { WellKnown, wellKnownDocuments } from "./components/WellKnown";
import { dutiesOf, workersOf } from "./components/workers";
import { readKeyFile, readSettings, type Settings } from "./config";

/** The Redis that Synapse's processes hear news by. */
const REDIS_UNIT = "synapse-redis";

/** What a stack's settings say, on the machine that they name. */
async function program() {
  const { serverName, domains, servedNames, dbPassword, ...settings } = readSettings();
  const deployed = new Deployed();
  await refuseServerNameChange(serverName, deployed);
  const backupWarning = askAboutBackup(settings, deployed);
  const publicBaseUrl = `https://${domains[0]}`;
  const synapseUrl = `http://127.0.0.1:${SYNAPSE_PORT}`;
  const servesApex = servedNames.includes(serverName);
  const { privateKeyFile, ...address } = settings.host;
  const workers = workersOf(settings.workers);

  const machine = new Host("host", {
    ...address,
    ...(privateKeyFile !== undefined && { privateKey: readKeyFile(privateKeyFile) }),
    stack: `${pulumi.getProject()}/${pulumi.getStack()}`,
    synapseVersion: settings.synapse.version,
    localDatabase: settings.database === undefined,
    reconcile: settings.reconcile,
  });
  const { facts } = machine;
  const remains = new Remains("remains", {
    host: machine,
    purge: settings.purge,
    serverName,
    userName: "synapse",
    home: "/opt/synapse",
    ...(settings.database === undefined && { database: { name: "synapse", user: "synapse" } }),
    folders: [PKI, WEBROOT],
  });

  const user = new SystemUser("synapse-user", {
    host: remains,
    userName: "synapse",
    home: "/opt/synapse",
    privateFolders: ["media_store", "secrets"],
  });
  const adoption =
    settings.adopt &&
    new Adoption("adoption", {
      ...settings.adopt,
      host: remains,
      user,
      serverName,
      becomes: "synapse",
      healthUrl: `${synapseUrl}/health`,
      kept: keptSet("synapse"),
    });
  const host: Machine = adoption ?? remains;
  const venv = new SynapseVenv("synapse", {
    host,
    user,
    ...settings.synapse,
    python: facts.python,
    pythonPackage: facts.pythonPackage,
  });
  const afterPython = { dependsOn: venv.packages };
  const database = settings.database
    ? new ExternalDatabase(
        "database",
        {
          host,
          address: databaseAddress(settings.database),
          ca: settings.database.ca,
          password: dbPassword,
          stream: facts.postgresqlStream,
        },
        afterPython,
      )
    : new PostgresDb("database", { host, stream: facts.postgresqlStream, password: dbPassword }, afterPython);
  const base = new BaseSystem(
    "base",
    {
      host,
      open: ["http", "https", ...(settings.nginx.federationPort ? ["8448/tcp"] : [])],
      // SELinux knows Synapse's own port as one of the web's, and not those of its workers.
      selinuxBooleans: ["httpd_can_network_relay", ...(workers.length > 0 ? ["httpd_can_network_connect"] : [])],
      selinuxWebPorts: settings.nginx.federationPort ? [8448] : [],
    },
    afterPython,
  );

  const { workerSecrets } = settings.rotate;
  const redis =
    workers.length > 0
      ? new Redis(
          "redis",
          { host, unit: REDIS_UNIT, ...(workerSecrets !== undefined && { rotation: workerSecrets }) },
          afterPython,
        )
      : undefined;
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
      secretSettings: settings.homeserverIsSecret,
      rotate: settings.rotate,
      ...(redis && { workers: { ...dutiesOf(workers), redis } }),
    },
    { dependsOn: venv },
  );
  const shutOut = `the database does not let Synapse in (its answer is above): ${database.advice}`;
  const schema = new SchemaCheck(
    "synapse-schema",
    {
      host,
      user,
      release: venv.release,
      version: settings.synapse.version,
      database: database.address,
      otherwise: shutOut,
    },
    { dependsOn: [config, database] },
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
      after: ["postgresql.service", ...(redis ? [`${REDIS_UNIT}.service`] : [])],
      files: config.files,
      link: venv.link,
      release: venv.release,
      restartOn: pulumi.interpolate`${config.secretsRevision}${venv.repairs}`,
      needs: {
        command: loginCheck(database.address, `${user.home}/secrets/pgpass`),
        otherwise: shutOut,
      },
      healthUrl: `${synapseUrl}/health`,
      ...(adoption && { takeOver: adoption }),
    },
    { dependsOn: [config, schema, ...(redis ? [redis] : [])] },
  );
  const workerServices = workers.map(
    (worker) =>
      new SynapseWorker(
        `worker-${worker.name}`,
        { host, user, worker, mainUnit: "synapse", link: venv.link, config: config.path },
        { dependsOn: service },
      ),
  );

  const certificate = new TlsCertificate("tls", {
    host,
    names: servedNames,
    source: settings.tls,
  });
  const wellKnown = new WellKnown("well-known", { host, publicBaseUrl });
  const proxy = new NginxProxy(
    "nginx",
    {
      host,
      stream: facts.nginxStream,
      ipv6: facts.ipv6,
      serverName,
      domains,
      servesApex,
      ...settings.nginx,
      upstreamPort: SYNAPSE_PORT,
      workers,
      maxBodySize: nginxSize(settings.homeserver.max_upload_size),
      certificate,
      wellKnown,
      ...(settings.adopt && { replaces: settings.adopt.nginxFiles }),
    },
    { dependsOn: [venv.packages, ...workerServices] },
  );

  const acme =
    settings.tls.mode === "acme"
      ? [
          new AcmeCertificate(
            "acme",
            {
              host,
              certificate,
              ...settings.tls,
              python: facts.python,
              pythonPackage: facts.pythonPackage,
              indexUrl: settings.synapse.indexUrl,
            },
            { dependsOn: [proxy, base] },
          ),
        ]
      : [];

  const adminPassword =
    settings.admin.password ?? new random.RandomPassword("admin-password", { length: 32, special: false }).result;
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
  const s3 = settings.backup?.s3;
  const store =
    settings.backup &&
    s3 &&
    new BackupStore("backup-store", {
      host,
      serverName,
      store: { keep: settings.backup.keep, ...s3 },
      python: facts.python,
      pythonPackage: facts.pythonPackage,
      indexUrl: settings.synapse.indexUrl,
    });
  const backup =
    settings.backup &&
    new Backup(
      "backup",
      {
        host,
        user,
        serverName,
        adminUserId: admin.userId,
        link: venv.link,
        unit: "synapse",
        healthUrl: `${synapseUrl}/health`,
        database: database.address,
        recipient: settings.backup.recipient,
        directory: settings.backup.directory,
        schedule: settings.backup.schedule,
        keep: settings.backup.keep,
        store,
      },
      { dependsOn: service },
    );
  const health = new HealthCheck(
    "health",
    {
      host,
      serverName,
      publicBaseUrl,
      servesApex,
      caPath: certificate.caPath,
      workers: workers.map(({ kind, port }, index) => ({
        unit: workerServices[index]?.unit ?? "",
        port,
        servesClients: kind === "generic",
      })),
      // A repair, too, ends with the question whether a client is served.
      revision: pulumi
        .all([service.revision, proxy.revision, ...workerServices.map(({ revision }) => revision)])
        .apply((parts) => fingerprint(...parts, ...Object.entries(settings.reconcile).flat())),
    },
    { dependsOn: [service, proxy, base, ...workerServices, ...acme] },
  );
  warnOfSilence(settings.host, health.passed);
  if (backup && settings.purge === true)
    new LastBackup("last-backup", { host, unit: "synapse" }, { dependsOn: [backup, admin, health] });

  const warning = await backupWarning;
  if (warning !== undefined) await pulumi.log.warn(warning);

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
    /** What `/.well-known/matrix/client` and `/.well-known/matrix/server` of the server name have to answer. */
    wellKnownClient: JSON.stringify(wellKnownDocuments(publicBaseUrl).client),
    wellKnownServer: JSON.stringify(wellKnownDocuments(publicBaseUrl).server),
    /** The machine. */
    hostAddress: settings.host.address,
    /** What an operator does next. */
    nextSteps: nextSteps({
      address: settings.host.address,
      serverName,
      servedNames,
      isSelfSigned: settings.tls.mode === "selfsigned",
      hasBackups: settings.backup !== undefined,
      purge: settings.purge,
    }),
  };
}

export = () => plainly(program);

/** What there is to be warned of; a stack without backups, or that was not deployed to its machine yet, asks nobody. */
async function askAboutBackup(
  { host, backup }: Pick<Settings, "host" | "backup">,
  deployed: Deployed,
): Promise<string | undefined> {
  if (!backup || backup.warnAfterHours === 0 || (await deployed.output("hostAddress")) !== host.address)
    return undefined;
  return await lastBackupWarning(host, backup.warnAfterHours);
}

function databaseAddress({ host, port, name, user, tlsMode }: NonNullable<Settings["database"]>): DatabaseAddress {
  return { host, port, name, user, sslMode: tlsMode };
}
