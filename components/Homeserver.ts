import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { AcmeCertificate } from "./AcmeCertificate";
import { AdminUser } from "./AdminUser";
import { Adoption, type HandBuilt } from "./Adoption";
import { Backup, type BackupArgs } from "./Backup";
import { BackupStore, type S3Store } from "./BackupStore";
import { BaseSystem } from "./BaseSystem";
import { loginCheck } from "./DatabaseAddress";
import { ExternalDatabase, type ExternalDatabaseArgs } from "./ExternalDatabase";
import { HealthCheck } from "./HealthCheck";
import { HomeserverConfig, type SecretRotation, SYNAPSE_PORT } from "./HomeserverConfig";
import { type FreeSettings, nginxSize } from "./homeserverSettings";
import { Host, type HostArgs } from "./Host";
import { LastBackup } from "./LastBackup";
import type { Machine } from "./Machine";
import { NginxProxy, type NginxProxyArgs } from "./NginxProxy";
import { dependencies } from "./options";
import { PostgresDb } from "./PostgresDb";
import { Redis } from "./Redis";
import { type Purge, Remains } from "./Remains";
import { SchemaCheck } from "./SchemaCheck";
import { fingerprint } from "./shell";
import { SynapseVenv, type SynapseVenvArgs } from "./SynapseVenv";
import { SynapseWorker } from "./SynapseWorker";
import { keptSet, SystemdService } from "./SystemdService";
import { SystemUser } from "./SystemUser";
import { type CertificateSource, PKI, TlsCertificate, WEBROOT } from "./TlsCertificate";
import { WellKnown } from "./WellKnown";
import { dutiesOf, type WorkerCounts, workersOf } from "./workers";

/** Synapse's unit and account, the folder that all of it is in, and the unit of the Redis that its processes hear news by. */
const SYNAPSE = "synapse";
const HOME = "/opt/synapse";
const REDIS_UNIT = "synapse-redis";

/** Arguments of {@link Homeserver}. */
export interface HomeserverArgs {
  /** In front of the names of its resources, for a program that has more than one. Default: nothing. */
  readonly prefix?: string;
  /** The name in user ids. It can never change. */
  readonly serverName: string;
  /** The names that clients and other servers reach it by; the first is the address that clients are told. */
  readonly domains: readonly [string, ...string[]];
  /** The names that its nginx answers for, and its certificate has to be good for. Default: the domains and the server name. */
  readonly servedNames?: readonly string[];
  /** The machine, how to log in to it, and who keeps it. */
  readonly host: Omit<HostArgs, "synapseVersion" | "localDatabase" | "reconcile">;
  /** The release of Synapse, where it comes from, and the level of its log (default: `WARNING`). */
  readonly synapse: Pick<SynapseVenvArgs, "version" | "indexUrl" | "buildFromSource"> & { readonly logLevel?: string };
  /** Further settings of homeserver.yaml, by Synapse's own names. Default: none. */
  readonly homeserver?: FreeSettings;
  /** Whether one of them is a secret, so that homeserver.yaml is not to be shown in a preview. Default: false. */
  readonly homeserverIsSecret?: boolean;
  /** Processes beside the main one. Default: none. */
  readonly workers?: WorkerCounts;
  /** Any text for each of Synapse's own secrets: with another text it is made anew. Default: none, and they stay. */
  readonly rotate?: SecretRotation;
  /** Password of the database's role. Secret. */
  readonly dbPassword: pulumi.Input<string>;
  /** A PostgreSQL server elsewhere, and the authority of its certificate. Default: PostgreSQL on the machine. */
  readonly database?: Pick<ExternalDatabaseArgs, "address" | "ca">;
  /** The administrator's local name, and its password (secret). Default of the password: one is made. */
  readonly admin: { readonly localpart: string; readonly password?: pulumi.Input<string> };
  /** Where the certificate comes from. */
  readonly tls: CertificateSource;
  /** What nginx does besides. Default: as NginxProxy has it. */
  readonly nginx?: Pick<NginxProxyArgs, "apexProxy" | "federationPort" | "adminNetworks" | "hsts">;
  /** Encrypted backups, and the store that each is copied to (default: none). Default: no backups. */
  readonly backup?: Pick<BackupArgs, "recipient" | "directory" | "schedule" | "keep"> & {
    readonly s3?: Omit<S3Store, "keep"> & { readonly keep?: number };
  };
  /** A server that was built by hand on the machine, and the files with its sites in nginx. Default: there is none. */
  readonly adopt?: HandBuilt & { readonly nginxFiles: readonly string[] };
  /** What `pulumi destroy` does with database, media and signing key. Default: false, they stay. */
  readonly purge?: Purge;
  /** Resources to run again although nothing of theirs changed, by name, each with a word that is new every time. Default: none. */
  readonly reconcile?: Readonly<Record<string, string>>;
}

/** A Matrix homeserver on a machine: all of it, in the order of the runbook that it replaces. */
export class Homeserver extends pulumi.ComponentResource {
  /** The address that clients use. */
  readonly baseUrl: string;
  /** The administrator, and the password that was set for it (secret). */
  readonly adminUserId: string;
  readonly adminPassword: pulumi.Output<string>;
  /** PEM; to be given to clients where the world does not know the certificate's authority, else empty. */
  readonly caCertificate: pulumi.Output<string>;
  /** Known once a client was served. */
  readonly passed: pulumi.Output<unknown>;

  constructor(name: string, args: HomeserverArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Homeserver", name, {}, opts);
    const { prefix = "", serverName, domains, dbPassword, synapse, nginx = {}, purge = false, reconcile = {} } = args;
    const named = (part: string) => prefix + part;
    const after = (...dependsOn: pulumi.Input<pulumi.Resource>[]): pulumi.ComponentResourceOptions => ({
      parent: this,
      dependsOn,
      // Where everything was before it had this component around it.
      aliases: [{ parent: pulumi.rootStackResource }],
    });
    this.baseUrl = `https://${domains[0]}`;
    const synapseUrl = `http://127.0.0.1:${SYNAPSE_PORT}`;
    const servedNames = args.servedNames ?? [...domains, serverName];
    const servesApex = servedNames.includes(serverName);
    const workers = args.workers ? workersOf(args.workers) : [];

    const machine = new Host(
      named("host"),
      { ...args.host, synapseVersion: synapse.version, localDatabase: args.database === undefined, reconcile },
      after(...dependencies(opts)),
    );
    const { python, pythonPackage, postgresqlStream, nginxStream, ipv6 } = machine.facts;
    const remains = new Remains(
      named("remains"),
      {
        host: machine,
        purge,
        serverName,
        userName: SYNAPSE,
        home: HOME,
        ...(args.database === undefined && { database: { name: SYNAPSE, user: SYNAPSE } }),
        folders: [PKI, WEBROOT],
      },
      after(),
    );

    const user = new SystemUser(
      named("synapse-user"),
      { host: remains, userName: SYNAPSE, home: HOME, privateFolders: ["media_store", "secrets"] },
      after(),
    );
    const adoption =
      args.adopt &&
      new Adoption(
        named("adoption"),
        {
          ...args.adopt,
          host: remains,
          user,
          serverName,
          becomes: SYNAPSE,
          healthUrl: `${synapseUrl}/health`,
          kept: keptSet(SYNAPSE),
        },
        after(),
      );
    const host: Machine = adoption ?? remains;
    const venv = new SynapseVenv(named("synapse"), { host, user, ...synapse, python, pythonPackage }, after());
    const database = args.database
      ? new ExternalDatabase(
          named("database"),
          { host, ...args.database, password: dbPassword, stream: postgresqlStream },
          after(venv.packages),
        )
      : new PostgresDb(
          named("database"),
          { host, stream: postgresqlStream, password: dbPassword },
          after(venv.packages),
        );
    const base = new BaseSystem(
      named("base"),
      {
        host,
        open: ["http", "https", ...(nginx.federationPort === true ? ["8448/tcp"] : [])],
        // SELinux knows Synapse's own port as one of the web's, and not those of its workers.
        selinuxBooleans: ["httpd_can_network_relay", ...(workers.length > 0 ? ["httpd_can_network_connect"] : [])],
        selinuxWebPorts: nginx.federationPort === true ? [8448] : [],
      },
      after(venv.packages),
    );

    const { workerSecrets } = args.rotate ?? {};
    const redis =
      workers.length > 0
        ? new Redis(
            named("redis"),
            { host, unit: REDIS_UNIT, ...(workerSecrets !== undefined && { rotation: workerSecrets }) },
            after(venv.packages),
          )
        : undefined;
    const config = new HomeserverConfig(
      named("homeserver"),
      {
        host,
        user,
        serverName,
        publicBaseUrl: this.baseUrl,
        database: { ...database.address, password: dbPassword },
        release: venv.release,
        ...(synapse.logLevel !== undefined && { logLevel: synapse.logLevel }),
        ...(args.homeserver && { settings: args.homeserver }),
        secretSettings: args.homeserverIsSecret ?? false,
        ...(args.rotate && { rotate: args.rotate }),
        ...(redis && { workers: { ...dutiesOf(workers), redis } }),
      },
      after(venv),
    );
    const shutOut = `the database does not let Synapse in (its answer is above): ${database.advice}`;
    const schema = new SchemaCheck(
      named("synapse-schema"),
      {
        host,
        user,
        release: venv.release,
        version: synapse.version,
        database: database.address,
        otherwise: shutOut,
      },
      after(venv, config.secrets, database),
    );
    const service = new SystemdService(
      named("synapse-service"),
      {
        host,
        unit: SYNAPSE,
        description: `Matrix homeserver of ${serverName}`,
        user,
        command: `${venv.link}/bin/python -m synapse.app.homeserver --config-path=${config.path}`,
        program: venv,
        writable: [`${user.home}/media_store`],
        after: ["postgresql.service", ...(redis ? [`${REDIS_UNIT}.service`] : [])],
        files: config.files,
        link: venv.link,
        release: venv.release,
        restartOn: pulumi.interpolate`${config.secretsRevision}${venv.repairs}`,
        needs: { command: loginCheck(database.address, `${user.home}/secrets/pgpass`), otherwise: shutOut },
        healthUrl: `${synapseUrl}/health`,
        ...(adoption && { takeOver: adoption }),
      },
      after(config, schema, ...(redis ? [redis] : [])),
    );
    const workerServices = workers.map(
      (worker) =>
        new SynapseWorker(
          named(`worker-${worker.name}`),
          { host, user, worker, mainUnit: SYNAPSE, link: venv.link, config: config.path },
          after(service),
        ),
    );

    const certificate = new TlsCertificate(named("tls"), { host, names: servedNames, source: args.tls }, after());
    const wellKnown = new WellKnown(
      named("well-known"),
      {
        host,
        publicBaseUrl: this.baseUrl,
        // What a site of somebody else's says to browsers is not for its snippet to decide.
        hsts: nginx.hsts === true && servesApex,
      },
      after(),
    );
    const proxy = new NginxProxy(
      named("nginx"),
      {
        host,
        stream: nginxStream,
        ipv6,
        serverName,
        domains,
        servesApex,
        ...nginx,
        upstreamPort: SYNAPSE_PORT,
        workers,
        maxBodySize: nginxSize(args.homeserver?.max_upload_size),
        certificate,
        wellKnown,
        ...(args.adopt && { replaces: args.adopt.nginxFiles }),
      },
      after(venv.packages, ...workerServices),
    );
    const acme =
      args.tls.mode === "acme"
        ? [
            new AcmeCertificate(
              named("acme"),
              { host, certificate, ...args.tls, python, pythonPackage, indexUrl: synapse.indexUrl },
              after(proxy, base),
            ),
          ]
        : [];

    this.adminPassword = pulumi.secret(
      args.admin.password ??
        new random.RandomPassword(named("admin-password"), { length: 32, special: false }, after()).result,
    );
    const admin = new AdminUser(
      named("admin"),
      {
        host,
        user,
        localpart: args.admin.localpart,
        serverName,
        password: this.adminPassword,
        config: config.path,
        link: venv.link,
        synapseUrl,
      },
      after(service),
    );
    const health = new HealthCheck(
      named("health"),
      {
        host,
        serverName,
        publicBaseUrl: this.baseUrl,
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
          .apply((parts) => fingerprint(...parts, ...Object.entries(reconcile).flat())),
      },
      after(service, proxy, base, ...workerServices, ...acme),
    );

    if (args.backup) {
      const { s3, ...settings } = args.backup;
      const store =
        s3 &&
        new BackupStore(
          named("backup-store"),
          {
            host,
            serverName,
            store: { keep: settings.keep, ...s3 },
            python,
            pythonPackage,
            indexUrl: synapse.indexUrl,
          },
          after(),
        );
      const backup = new Backup(
        named("backup"),
        {
          host,
          user,
          serverName,
          adminUserId: admin.userId,
          link: venv.link,
          unit: SYNAPSE,
          healthUrl: `${synapseUrl}/health`,
          database: database.address,
          ...settings,
          ...(store && { store }),
        },
        after(service),
      );
      if (purge === true) new LastBackup(named("last-backup"), { host, unit: SYNAPSE }, after(backup, admin, health));
    }

    this.adminUserId = admin.userId;
    this.caCertificate = certificate.caCertificate;
    this.passed = health.passed;
    this.registerOutputs({ baseUrl: this.baseUrl, adminUserId: this.adminUserId });
  }
}
