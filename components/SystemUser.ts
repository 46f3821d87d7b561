import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";

/** Arguments of {@link SystemUser}. */
export interface SystemUserArgs {
  /** Where it lives. */
  readonly host: Machine;
  /** Name of the account and of its group. */
  readonly userName: string;
  /** Its home folder, which it owns. It is kept on `pulumi destroy`, as is the account that its files belong to. */
  readonly home: string;
  /** Folders in the home that only the account may look into. Default: none. */
  readonly privateFolders?: readonly string[];
}

/** A system account that a service runs as and that nobody can log in to. */
export class SystemUser extends pulumi.ComponentResource {
  /** Name of the account and of its group. */
  readonly userName: string;
  /** Absolute path of the home folder. */
  readonly home: string;

  constructor(name: string, args: SystemUserArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SystemUser", name, {}, opts);
    const { host, userName, home, privateFolders = [] } = args;
    this.userName = userName;
    this.home = home;

    new RemoteScript(
      `${name}-account`,
      {
        host,
        script: "system-user.sh",
        variables: { USER_NAME: userName, HOME_FOLDER: home, FOLDERS: privateFolders.join(" ") },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs({ userName, home });
  }
}
