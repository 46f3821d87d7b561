import * as pulumi from "@pulumi/pulumi";

import { libpqString, type DatabaseAddress } from "./DatabaseAddress";
import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";

const CA_FILE = "/etc/pki/matrix-homeserver/database-ca.crt";

/** Arguments of {@link ExternalDatabase}. */
export interface ExternalDatabaseArgs {
  /** The machine that Synapse runs on: what has to reach the database. */
  readonly host: Machine;
  /** Where the database server is. */
  readonly address: Omit<DatabaseAddress, "sslRootCert">;
  /** The role's password. Secret. The role itself is the database server's administrator's to change. */
  readonly password: pulumi.Input<string>;
  /** Authority (PEM) that the server's certificate is checked against. Default: the system's own authorities. */
  readonly ca?: string;
  /** Stream of the dnf module `postgresql` that the client programs come from. */
  readonly stream: pulumi.Input<string>;
}

/**
 * A database on a PostgreSQL server that somebody else keeps. Nothing is made there: it is looked at from Synapse's machine
 * (login, TLS, version, encoding, collation, rights) before Synapse is touched.
 */
export class ExternalDatabase extends pulumi.ComponentResource {
  readonly address: DatabaseAddress;
  /** What to do when it lets nobody in. */
  readonly advice =
    "see that its server runs and can be reached from this machine, and that dbPassword is the role's password there";

  constructor(name: string, args: ExternalDatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:ExternalDatabase", name, {}, opts);
    const { host, ca } = args;
    const first = { parent: this, dependsOn: dependencies(opts) };
    this.address = { ...args.address, ...rootCertificate(args.address.sslMode, ca) };

    const packages = new Packages(
      `${name}-packages`,
      { host, module: pulumi.interpolate`postgresql:${args.stream}`, packages: ["postgresql"] },
      first,
    );
    const authority =
      ca === undefined ? [] : [new RemoteFile(`${name}-ca`, { host, path: CA_FILE, content: ca }, first)];
    new RemoteScript(
      `${name}-check`,
      {
        host,
        script: "database-check.sh",
        variables: {
          DATABASE: libpqString(this.address, "$PASSFILE"),
          PASSWORD: pulumi.secret(args.password),
        },
      },
      { parent: this, dependsOn: [packages, ...authority] },
    );

    this.registerOutputs({ address: this.address });
  }
}

/** libpq would look for a file of the user's own, and with one check the certificate even where it was not asked to. */
function rootCertificate(sslMode: DatabaseAddress["sslMode"], ca: string | undefined): { sslRootCert?: string } {
  if (ca !== undefined) return { sslRootCert: CA_FILE };
  return sslMode === "require" ? {} : { sslRootCert: "/etc/pki/tls/certs/ca-bundle.crt" };
}
