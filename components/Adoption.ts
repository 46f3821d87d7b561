import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { DATA, LIBEXEC, type Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { programText, RemoteScript } from "./RemoteScript";
import type { TakeOver } from "./SystemdService";
import type { SystemUser } from "./SystemUser";

/** Folder on the host for what a server that was taken over had and this program does not use. */
export const BEFORE_ADOPTION = `${DATA}/before-adoption`;

/** What a server that was built by hand is made of. */
export interface HandBuilt {
  /** Its systemd unit, without `.service`. */
  readonly unit: string;
  /** Its virtual environment. */
  readonly environment: string;
  /** Its signing key. */
  readonly signingKey: string;
  /** The folder of its media. */
  readonly mediaStore: string;
  /** Its database, where that is one of SQLite. Default: it is the PostgreSQL database that the stack names. */
  readonly sqlite?: string;
}

/** Arguments of {@link Adoption}. */
export interface AdoptionArgs extends HandBuilt {
  /** The machine. */
  readonly host: Machine;
  /** The account that Synapse is to run as; the old server runs as it, or as root. */
  readonly user: SystemUser;
  /** The name in user ids. */
  readonly serverName: string;
  /** Unit that the server becomes, without `.service`. */
  readonly becomes: string;
  /** URL on the machine that answers 200 when Synapse works, the old one as well as the new one. */
  readonly healthUrl: string;
  /** Folder for the set that answered last, as SystemdService names it. */
  readonly kept: string;
}

/**
 * A homeserver that was built by hand is taken over. What can be done beside it is done at once; the rest is a program for
 * SystemdService, which calls it at the moment of the switch. Whatever else is done on the machine has to wait for the first
 * part, so it is itself the machine to do it on. Nothing of it is undone by `pulumi destroy`.
 */
export class Adoption extends pulumi.ComponentResource implements Machine, TakeOver {
  readonly connection: pulumi.Input<types.input.remote.ConnectionArgs>;
  readonly asRoot: string;
  readonly ready: pulumi.Resource;
  readonly reconcile: Readonly<Record<string, string>>;
  readonly program: string;
  readonly unit: string;

  constructor(name: string, args: AdoptionArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Adoption", name, {}, opts);
    const { host, user, environment, mediaStore } = args;
    const link = `${user.home}/env`;
    this.unit = `${args.unit}.service`;
    const common = {
      // Not among the releases, which go with the stack.
      ADOPTED: environment === link ? `${user.home}/adopted-env` : environment,
      LINK: link,
      MEDIA_STORE: mediaStore,
      HOME_FOLDER: user.home,
      USER_NAME: user.userName,
      WORK: BEFORE_ADOPTION,
    };

    const prepared = new RemoteScript(
      `${name}-prepare`,
      {
        host,
        script: "adopt-prepare.sh",
        variables: {
          ...common,
          ENVIRONMENT: environment,
          SIGNING_KEY: args.signingKey,
          SERVER_NAME: args.serverName,
        },
        timeoutSeconds: 3600,
      },
      { parent: this, dependsOn: [...dependencies(opts), user] },
    );
    const program = new RemoteFile(
      `${name}-program`,
      {
        host,
        path: `${LIBEXEC}/adopt`,
        content: programText("adopt.sh", {
          ...common,
          OLD_UNIT: this.unit,
          UNIT: `${args.becomes}.service`,
          SQLITE: args.sqlite ?? "",
          HEALTH_URL: args.healthUrl,
          STAGED: `${DATA}/staged`,
          KEEP: args.kept,
        }),
        mode: "0755",
      },
      { parent: this, dependsOn: prepared },
    );
    this.connection = host.connection;
    this.asRoot = host.asRoot;
    this.reconcile = host.reconcile ?? {};
    this.ready = program;
    this.program = program.path;

    this.registerOutputs({ program: this.program });
  }
}
