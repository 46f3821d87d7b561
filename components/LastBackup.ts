import * as pulumi from "@pulumi/pulumi";

import { LIBEXEC, type Machine } from "./Machine";
import { dependencies } from "./options";
import { BACKUP_STATUS, PURGE_FILE } from "./Remains";
import { RemoteScript } from "./RemoteScript";

/** Arguments of {@link LastBackup}. */
export interface LastBackupArgs {
  /** The machine. */
  readonly host: Machine;
  /** Unit of Synapse, without `.service`: it is stopped first, so that nothing is written that the backup has not. */
  readonly unit: string;
}

/**
 * The backup that `pulumi destroy` begins with where it removes the data, too. It has to depend on all else: then it goes first,
 * and when it fails nothing is removed. It needs Backup's program.
 */
export class LastBackup extends pulumi.ComponentResource {
  constructor(name: string, args: LastBackupArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:LastBackup", name, {}, opts);
    const program = { PROGRAM: `${LIBEXEC}/backup` };

    new RemoteScript(
      `${name}-made`,
      {
        host: args.host,
        script: "last-backup.sh",
        variables: program,
        onDelete: {
          script: "last-backup-made.sh",
          variables: { ...program, UNIT: `${args.unit}.service`, PURGE_FILE, STATUS: BACKUP_STATUS },
        },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs();
  }
}
