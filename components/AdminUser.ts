import * as pulumi from "@pulumi/pulumi";

import { type Machine, STATE } from "./Machine";
import { atOnce, dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";
import type { SystemUser } from "./SystemUser";

/** Arguments of {@link AdminUser}. */
export interface AdminUserArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that Synapse runs as. */
  readonly user: SystemUser;
  /** The administrator's local name: `admin` in `@admin:example.com`. */
  readonly localpart: string;
  /** The name in user ids. */
  readonly serverName: string;
  /** Its password. Secret. Set when the account is made and whenever this changes; in between it is the administrator's own. */
  readonly password: pulumi.Input<string>;
  /** Path of homeserver.yaml. */
  readonly config: string;
  /** Link to the running release. */
  readonly link: string;
  /** URL of Synapse on the machine. */
  readonly synapseUrl: string;
}

/** The administrator's account. It is kept on `pulumi destroy`, like all accounts. */
export class AdminUser extends pulumi.ComponentResource {
  /** `@admin:example.com`. */
  readonly userId: string;

  constructor(name: string, args: AdminUserArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:AdminUser", name, {}, atOnce(opts));
    const { host, user, localpart } = args;
    this.userId = `@${localpart}:${args.serverName}`;

    new RemoteScript(
      `${name}-account`,
      {
        host,
        script: "account.sh",
        variables: {
          LOCALPART: localpart,
          USER_ID: this.userId,
          PASSWORD: pulumi.secret(args.password),
          ADMIN: "yes",
          RESET: "yes",
          MARK: `${STATE}/admin-password`,
          CONFIG: args.config,
          BIN: `${args.link}/bin`,
          SYNAPSE_URL: args.synapseUrl,
          RUN_AS: user.userName,
        },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs({ userId: this.userId });
  }
}
