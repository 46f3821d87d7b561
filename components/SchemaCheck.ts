import * as pulumi from "@pulumi/pulumi";

import { libpqString, type DatabaseAddress } from "./DatabaseAddress";
import type { Machine } from "./Machine";
import { atOnce, dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";
import type { SystemUser } from "./SystemUser";

/** Arguments of {@link SchemaCheck}. */
export interface SchemaCheckArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that Synapse runs as. */
  readonly user: SystemUser;
  /** Virtual environment of the release that is to run, and its version. */
  readonly release: pulumi.Input<string>;
  readonly version: string;
  /** The database that it is to run with. */
  readonly database: DatabaseAddress;
  /** The sentence when that does not let Synapse in. */
  readonly otherwise: string;
}

/** Whether a release of Synapse can work with the database as it is: an older one may not, and is refused while the newer one still serves. */
export class SchemaCheck extends pulumi.ComponentResource {
  constructor(name: string, args: SchemaCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SchemaCheck", name, {}, atOnce(opts));
    const { host, user } = args;

    new RemoteScript(
      `${name}-check`,
      {
        host,
        script: "schema-check.sh",
        variables: {
          RELEASE: args.release,
          VERSION: args.version,
          RUN_AS: user.userName,
          HOME_FOLDER: user.home,
          DATABASE: libpqString(args.database, `${user.home}/secrets/pgpass`),
          OTHERWISE: args.otherwise,
        },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs();
  }
}
