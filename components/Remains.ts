import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { DATA, type Machine, STATE } from "./Machine";
import { dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";

/** Says what `pulumi destroy` is to do with the data: `no`, `true` or `without-backup`. */
export const PURGE_FILE = `${STATE}/purge`;

/** Says how the last backup ended, and where the last whole one is. */
export const BACKUP_STATUS = `${STATE}/last-backup`;

/** Whether `pulumi destroy` removes the data, too: after a last backup (LastBackup makes it), or without one. */
export type Purge = boolean | "without-backup";

/** Arguments of {@link Remains}. */
export interface RemainsArgs {
  /** The machine. */
  readonly host: Machine;
  readonly purge: Purge;
  /** The name in user ids. */
  readonly serverName: string;
  /** Account and home folder of the service: media and the signing key. */
  readonly userName: string;
  readonly home: string;
  /** Name and role of the database in the machine's own PostgreSQL. Default: the database is elsewhere, and is never removed. */
  readonly database?: { readonly name: string; readonly user: string };
  /** Further folders that only a purge removes: of authorities and certificates. */
  readonly folders: readonly string[];
}

/**
 * What `pulumi destroy` leaves on the machine: database, media and signing key; or nothing, with purge. Everything else takes
 * this for its machine, so that it is made first and goes last.
 */
export class Remains extends pulumi.ComponentResource implements Machine {
  readonly connection: pulumi.Input<types.input.remote.ConnectionArgs>;
  readonly asRoot: string;
  readonly ready: pulumi.Resource;
  readonly reconcile: Readonly<Record<string, string>>;

  constructor(name: string, args: RemainsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Remains", name, {}, opts);
    const { host, purge, home, database } = args;
    this.connection = host.connection;
    this.asRoot = host.asRoot;
    this.reconcile = host.reconcile ?? {};

    const data = { SERVER_NAME: args.serverName, HOME_FOLDER: home, DATABASE: database?.name ?? "" };
    const intent = { PURGE: purge === false ? "no" : String(purge), PURGE_FILE };
    this.ready = new RemoteScript(
      `${name}-data`,
      {
        host,
        script: "remains.sh",
        variables: { ...data, ...intent },
        onDelete:
          purge === false
            ? { script: "remains-kept.sh", variables: { ...data, STATUS: BACKUP_STATUS } }
            : {
                script: "purge.sh",
                variables: {
                  ...data,
                  ...intent,
                  STATUS: BACKUP_STATUS,
                  RUN_AS: args.userName,
                  ROLE: database?.user ?? "",
                  FOLDERS: [home, DATA, ...args.folders].join("\n"),
                },
              },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs();
  }
}
