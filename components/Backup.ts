import * as pulumi from "@pulumi/pulumi";

import type { BackupStore } from "./BackupStore";
import { libpqString, type DatabaseAddress } from "./DatabaseAddress";
import { DATA, LIBEXEC, type Machine, STATE } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { BACKUP_STATUS } from "./Remains";
import { RemoteFile } from "./RemoteFile";
import { programText } from "./RemoteScript";
import type { SystemUser } from "./SystemUser";
import { TimedProgram } from "./TimedProgram";

/** Units that make a backup: `systemctl start` this one for one more. */
export const BACKUP_UNIT = "matrix-homeserver-backup";

/** Arguments of {@link Backup}. */
export interface BackupArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that Synapse runs as; its home holds the configuration, the keys and the media. */
  readonly user: SystemUser;
  /** The name in user ids. */
  readonly serverName: string;
  /** The administrator, whose password the stack keeps in force also over a restored database: `@admin:example.com`. */
  readonly adminUserId: string;
  /** Link to the running release. */
  readonly link: string;
  /** Unit of Synapse, without `.service`. */
  readonly unit: string;
  /** URL on the machine that answers 200 when Synapse works. */
  readonly healthUrl: string;
  /** The database that is saved. */
  readonly database: DatabaseAddress;
  /** OpenPGP public key (ASCII-armoured) of whoever may read the backups. */
  readonly recipient: string;
  /** Folder on the machine that they are kept in. */
  readonly directory: string;
  /** When one is made, as systemd's OnCalendar has it. */
  readonly schedule: string;
  /** How many are kept. */
  readonly keep: number;
  /** The program that copies each of them to a store. Default: they stay on the machine. */
  readonly store?: BackupStore;
}

/**
 * Backups of all that cannot be made again, made by the machine itself and readable by nobody on it; and the program that puts
 * one back, for tools/restore.sh. The backups are kept on `pulumi destroy`.
 */
export class Backup extends pulumi.ComponentResource {
  constructor(name: string, args: BackupArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Backup", name, {}, opts);
    const { host, user, serverName } = args;
    const first = { parent: this, dependsOn: dependencies(opts) };
    const common = {
      SERVER_NAME: serverName,
      RUN_AS: user.userName,
      HOME_FOLDER: user.home,
      DATABASE: libpqString(args.database, `${user.home}/secrets/pgpass`),
      PYTHON: `${args.link}/bin/python`,
    };

    const packages = new Packages(`${name}-packages`, { host, packages: ["gnupg2", "tar"] }, first);
    const recipient = new RemoteFile(
      `${name}-recipient`,
      {
        host,
        path: `${STATE}/backup-recipient.asc`,
        content: `${args.recipient}\n`,
        // A key that has expired, or that only signs, is found now and not when a backup is needed.
        check: `home=$(mktemp -d) && trap 'rm -rf "$home"' EXIT && gpg --homedir "$home" --batch --no-autostart --trust-model always --recipient-file "$file" --encrypt --output /dev/null --yes </dev/null`,
      },
      { parent: this, dependsOn: packages },
    );
    new RemoteFile(
      `${name}-restore`,
      {
        host,
        path: `${LIBEXEC}/restore`,
        content: programText("restore.sh", {
          ...common,
          WORK: `${DATA}/restore`,
          ADMIN_USER_ID: args.adminUserId,
          UNIT: `${args.unit}.service`,
          HEALTH_URL: args.healthUrl,
        }),
        mode: "0755",
      },
      { parent: this, dependsOn: packages },
    );
    new TimedProgram(
      `${name}-timed`,
      {
        host,
        unit: BACKUP_UNIT,
        program: "backup",
        description: `Backup of the homeserver ${serverName}`,
        script: "backup.sh",
        variables: {
          ...common,
          // Not beside the backups: what is not encrypted yet must not get onto somebody else's disk.
          WORK: `${DATA}/backup`,
          RECIPIENT: recipient.path,
          DIRECTORY: args.directory,
          KEEP: args.keep,
          STATUS: BACKUP_STATUS,
          STORE: args.store?.program ?? "",
        },
        schedule: args.schedule,
        randomDelay: "5min",
        timeout: "12h",
        after: ["postgresql.service"],
      },
      { parent: this, dependsOn: [recipient, ...(args.store ? [args.store] : [])] },
    );

    this.registerOutputs();
  }
}
