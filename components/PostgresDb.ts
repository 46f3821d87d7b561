import * as pulumi from "@pulumi/pulumi";

import type { DatabaseAddress } from "./DatabaseAddress";
import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteScript } from "./RemoteScript";

/** Folder of the socket that PostgreSQL's own packages make. It takes less of the processors than TCP does. */
const SOCKET_FOLDER = "/var/run/postgresql";

/** Arguments of {@link PostgresDb}. */
export interface PostgresDbArgs {
  /** The machine that PostgreSQL runs on. */
  readonly host: Machine;
  /** Stream of the dnf module `postgresql`, for example `16`. A cluster of another stream is never touched. */
  readonly stream: pulumi.Input<string>;
  /** The database's name. Default: `synapse`. */
  readonly database?: string;
  /** The role that owns it and logs in with a password. Default: `synapse`. */
  readonly role?: string;
  /** The role's password. Secret. A change is a change of the role, not of the data. */
  readonly password: pulumi.Input<string>;
}

/** A PostgreSQL cluster on the machine with the one database that Synapse needs. Its data are kept on `pulumi destroy`. */
export class PostgresDb extends pulumi.ComponentResource {
  readonly address: DatabaseAddress;
  /** What to do when it lets nobody in. */
  readonly advice =
    "see that PostgreSQL runs ('systemctl status postgresql' on the machine); when the role's password was changed by hand, set another dbPassword, which makes both sides agree again";

  constructor(name: string, args: PostgresDbArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:PostgresDb", name, {}, opts);
    const { host, database = "synapse", role = "synapse" } = args;
    this.address = { host: SOCKET_FOLDER, port: 5432, name: database, user: role };

    const packages = new Packages(
      `${name}-packages`,
      {
        host,
        module: pulumi.interpolate`postgresql:${args.stream}`,
        packages: ["postgresql-server", "postgresql"],
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const cluster = new RemoteScript(
      `${name}-cluster`,
      { host, script: "postgresql-cluster.sh", variables: { ROLE: role, DATABASE: database } },
      { parent: this, dependsOn: packages },
    );
    new RemoteScript(
      `${name}-database`,
      {
        host,
        script: "postgresql-database.sh",
        variables: {
          ROLE: role,
          DATABASE: database,
          SOCKET_FOLDER,
          PASSWORD: pulumi.secret(args.password),
        },
      },
      { parent: this, dependsOn: cluster },
    );

    this.registerOutputs({ address: this.address });
  }
}
