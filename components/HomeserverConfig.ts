import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { parseDocument } from "yaml";

import { libpqParameters, type DatabaseAddress } from "./DatabaseAddress";
import { DATA, type Machine, stampsOf } from "./Machine";
import { atOnce, dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint, quote } from "./shell";
import type { SystemUser } from "./SystemUser";
import type { StagedFile } from "./SystemdService";
import { renderTemplate } from "./templates";
import type { WorkerDuties } from "./workers";

/** Where Synapse listens, on this machine only. */
export const SYNAPSE_PORT = 8008;

/** Where its main process listens for its workers, on this machine only. */
const REPLICATION_PORT = 9093;

/** Arguments of {@link HomeserverConfig}. */
export interface HomeserverConfigArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that Synapse runs as; its home holds the configuration, the keys and the media. */
  readonly user: SystemUser;
  /** The name in user ids. */
  readonly serverName: string;
  /** The address that clients use: `https://matrix.example.com`. */
  readonly publicBaseUrl: string;
  /** The database, and the password of its role (secret). */
  readonly database: DatabaseAddress & { readonly password: pulumi.Input<string> };
  /** Virtual environment of the release that is to read the configuration, which checks it. */
  readonly release: pulumi.Input<string>;
  /** Level of Synapse's log in the journal. Default: `WARNING`. */
  readonly logLevel?: string;
  /** Settings of homeserver.yaml by Synapse's own names, merged over the program's. Default: none. */
  readonly settings?: HomeserverSettings;
  /** What the workers do in place of the main process, and the Redis that all of them hear news by. Default: there are no workers. */
  readonly workers?: WorkerDuties & {
    readonly redis: { readonly port: number; readonly password: pulumi.Input<string> };
  };
  /** Whether one of them is a secret, so that homeserver.yaml is not to be shown in a preview. Default: false. */
  readonly secretSettings?: boolean;
  /** Any text for each of Synapse's own secrets: with another text it is made anew. Default: none, and they stay. */
  readonly rotate?: SecretRotation;
}

/** A text for each of the secrets that Synapse has to itself. */
export interface SecretRotation {
  /** Of what accounts are registered with on the machine. */
  readonly registrationSecret?: string;
  /** Of what signs guests' access tokens, the cookies of single sign-on and the links in e-mails. */
  readonly macaroonSecret?: string;
  /** Of what signs links to forms. */
  readonly formSecret?: string;
  /** Of what its processes prove themselves to each other with, where there are workers. */
  readonly workerSecrets?: string;
}

/** A part of homeserver.yaml. */
export type HomeserverSettings = Readonly<Record<string, unknown>>;

/**
 * What Synapse reads: homeserver.yaml and its log settings, staged and checked but not yet in use (SystemdService puts them
 * in place); its secrets; and the signing key, which is made on the machine and never leaves it. Only the files, which the
 * release itself has to check, wait for what the component depends on.
 */
export class HomeserverConfig extends pulumi.ComponentResource {
  /** The path of homeserver.yaml once it is in use. */
  readonly path: string;
  /** What SystemdService has to put in place. */
  readonly files: StagedFile[];
  /** Changes with the secrets that Synapse reads at its start, and tells nothing about them. */
  readonly secretsRevision: pulumi.Output<string>;
  /** Its secrets on the machine, the password of the database's role among them. */
  readonly secrets: pulumi.Resource;

  constructor(name: string, args: HomeserverConfigArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:HomeserverConfig", name, {}, atOnce(opts));
    const { host, user, serverName, database, workers, logLevel = "WARNING", settings = {}, rotate = {} } = args;
    const folder = user.home;
    const afterUser = { parent: this, dependsOn: [user] };
    this.path = `${folder}/homeserver.yaml`;

    const signingKey = new RemoteScript(
      `${name}-signing-key`,
      {
        host,
        script: "signing-key.sh",
        variables: { SERVER_NAME: serverName, FOLDER: folder, USER_NAME: user.userName },
      },
      afterUser,
    );

    const secret = (suffix: string, rotation: string | undefined) =>
      new random.RandomPassword(
        `${name}-${suffix}`,
        { length: 50, special: false, ...(rotation !== undefined && { keepers: { rotation } }) },
        { parent: this },
      );
    const registration = secret("registration", rotate.registrationSecret);
    const macaroon = secret("macaroon", rotate.macaroonSecret);
    const form = secret("form", rotate.formSecret);
    const workerSecrets = workers && {
      replication: secret("replication", rotate.workerSecrets).result,
      redis: workers.redis.password,
    };
    // Nobody guesses 50 random letters from their hash.
    this.secretsRevision = pulumi.unsecret(
      pulumi
        .all([registration.result, macaroon.result, form.result, ...Object.values(workerSecrets ?? {})])
        // What somebody wrote into their files may have been read since.
        .apply((secrets) => fingerprint(...secrets, ...stampsOf(host, [`${name}-secrets`, `${name}-worker-secrets`]))),
    );
    this.secrets = new RemoteScript(
      `${name}-secrets`,
      {
        host,
        script: "synapse-secrets.sh",
        variables: {
          FOLDER: `${folder}/secrets`,
          USER_NAME: user.userName,
          REGISTRATION_SHARED_SECRET: registration.result,
          MACAROON_SECRET_KEY: macaroon.result,
          FORM_SECRET: form.result,
          DATABASE_PASSWORD: pulumi.secret(database.password),
        },
        onDelete: { script: "remove-paths.sh", variables: { PATHS: `${folder}/secrets` } },
      },
      afterUser,
    );

    const ofWorkers = workerSecrets
      ? [
          new RemoteScript(
            `${name}-worker-secrets`,
            {
              host,
              script: "worker-secrets.sh",
              variables: {
                FOLDER: `${folder}/secrets`,
                USER_NAME: user.userName,
                WORKER_REPLICATION_SECRET: workerSecrets.replication,
                REDIS_PASSWORD: pulumi.secret(workerSecrets.redis),
              },
              onDelete: {
                script: "remove-paths.sh",
                variables: {
                  PATHS: [`${folder}/secrets/worker_replication_secret`, `${folder}/secrets/redis_password`].join("\n"),
                },
              },
            },
            afterUser,
          ),
        ]
      : [];

    const staged = (
      file: string,
      content: pulumi.Input<string>,
      check: pulumi.Input<string> | undefined,
    ): StagedFile => ({
      source: new RemoteFile(
        `${name}-${file.replace(/\..*/, "")}`,
        {
          host,
          path: `${DATA}/staged/${file}`,
          content,
          owner: `${user.userName}:${user.userName}`,
          mode: "0640",
          ...(check !== undefined && { check }),
        },
        { parent: this, dependsOn: [...dependencies(opts), signingKey, this.secrets, ...ofWorkers] },
      ),
      path: `${folder}/${file}`,
      owner: `${user.userName}:${user.userName}`,
      mode: "0640",
      reloadable: file === "log.yaml",
    });
    const view = {
      serverName,
      publicBaseUrl: args.publicBaseUrl,
      folder,
      port: SYNAPSE_PORT,
      database: libpqParameters(database, `${folder}/secrets/pgpass`).map(([name, value]) => ({ name, value })),
      signingKeyPath: `${folder}/${serverName}.signing.key`,
      workers: workers ? { ...workers, replicationPort: REPLICATION_PORT, redisPort: workers.redis.port } : null,
    };
    const checkCommand = pulumi.interpolate`runuser -u ${quote(user.userName)} -- ${args.release}/bin/python -m synapse.config -c "$file"`;
    const yaml = renderHomeserverYaml(view, settings);
    this.files = [
      staged("homeserver.yaml", args.secretSettings === true ? pulumi.secret(yaml) : yaml, checkCommand),
      staged("log.yaml", renderTemplate("opt/synapse/log.yaml", { level: logLevel }), undefined),
    ];

    this.registerOutputs({ path: this.path });
  }
}

/** What homeserver.yaml's template asks for. */
export interface HomeserverView {
  readonly serverName: string;
  readonly publicBaseUrl: string;
  readonly folder: string;
  readonly port: number;
  /** libpq's parameters, in their order. */
  readonly database: readonly { readonly name: string; readonly value: string | number }[];
  readonly signingKeyPath: string;
  readonly workers: (WorkerDuties & { readonly replicationPort: number; readonly redisPort: number }) | null;
}

/** homeserver.yaml with `settings` merged over the template's own, objects key by key, all else as a whole. Pure. */
export function renderHomeserverYaml(view: HomeserverView, settings: HomeserverSettings = {}): string {
  // Synapse reads YAML 1.1, in which words such as "off" and "2024-01-01" are no text unless they are quoted.
  const document = parseDocument(renderTemplate("opt/synapse/homeserver.yaml", quoted(view)), { compat: "yaml-1.1" });
  for (const [path, value] of leaves(settings)) document.setIn(path, document.createNode(value));
  return document.toString({
    lineWidth: 0,
    flowCollectionPadding: false,
    defaultStringType: "QUOTE_DOUBLE",
    defaultKeyType: "PLAIN",
  });
}

/** Values as JSON writes them, which YAML reads as the same. */
function quoted(view: HomeserverView): object {
  const { serverName, publicBaseUrl, database, signingKeyPath, workers, ...rest } = view;
  const list = (names: readonly string[]) => names.length > 0 && JSON.stringify(names);
  return {
    ...rest,
    serverName: JSON.stringify(serverName),
    publicBaseUrl: JSON.stringify(publicBaseUrl),
    signingKeyPath: JSON.stringify(signingKeyPath),
    database: database.map(({ name, value }) => ({ name, value: JSON.stringify(value) })),
    workers: workers && {
      replicationPort: workers.replicationPort,
      redisPort: workers.redisPort,
      federationSenders: list(workers.federationSenders),
      pushers: list(workers.pushers),
      media: workers.media ?? null,
      backgroundTasks: workers.backgroundTasks ?? null,
    },
  };
}

/** Every value that is not itself an object with keys, with the path to it. */
function leaves(value: HomeserverSettings, path: string[] = []): [string[], unknown][] {
  return Object.keys(value)
    .sort()
    .flatMap((key): [string[], unknown][] => {
      const inner = value[key];
      return isPlainObject(inner) ? leaves(inner, [...path, key]) : [[[...path, key], inner]];
    });
}

function isPlainObject(value: unknown): value is HomeserverSettings {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}
