import * as pulumi from "@pulumi/pulumi";

import { LIBEXEC, STATE } from "./Machine";
import { dependencies } from "./options";
import { type PythonOnHost, PythonVenv, toolArgs } from "./PythonVenv";
import { RemoteFile } from "./RemoteFile";
import { programText } from "./RemoteScript";
import { quote } from "./shell";
import { renderTemplate } from "./templates";

/** An S3-compatible store. */
export interface S3Store {
  /** `https://s3.eu-central-1.amazonaws.com`, with a port where it is not 443. */
  readonly endpoint: string;
  readonly bucket: string;
  /** In front of the names of the backups, without a slash at its ends. Default: nothing. */
  readonly prefix?: string;
  /** Default: `us-east-1`, which stores without regions take. */
  readonly region?: string;
  readonly accessKeyId: string;
  /** Secret. */
  readonly secretAccessKey: pulumi.Input<string>;
  /** The authority (PEM) of the endpoint's certificate. Default: those that the machine trusts. */
  readonly ca?: string;
  /** How many backups are kept there; 0: nothing is ever removed. */
  readonly keep: number;
}

/** Arguments of {@link BackupStore}. */
export interface BackupStoreArgs extends PythonOnHost {
  /** The name in user ids, with which the names of the backups begin. */
  readonly serverName: string;
  /** Where they go. */
  readonly store: S3Store;
}

/**
 * The program on the machine that copies backups to a store, and back: s3cmd, with credentials in a file that root alone reads.
 * What is in the store stays on `pulumi destroy`.
 */
export class BackupStore extends pulumi.ComponentResource {
  /** Absolute path of the program: scripts/backup-store.sh. */
  readonly program: string;

  constructor(name: string, args: BackupStoreArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:BackupStore", name, {}, opts);
    const { host, store, serverName } = args;
    const first = { parent: this, dependsOn: dependencies(opts) };
    const url = `s3://${[store.bucket, store.prefix].filter(Boolean).join("/")}/`;
    const configuration = `${STATE}/backup-store.cfg`;
    this.program = `${LIBEXEC}/backup-store`;

    const s3cmd = new PythonVenv(`${name}-s3cmd`, toolArgs("s3cmd", "import S3.S3", args), first);
    const program = new RemoteFile(
      `${name}-program`,
      {
        host,
        path: this.program,
        content: programText("backup-store.sh", {
          CLIENT: `${s3cmd.link}/bin/s3cmd`,
          CONFIGURATION: configuration,
          STORE: url,
          SERVER_NAME: serverName,
          KEEP: store.keep,
        }),
        mode: "0755",
      },
      first,
    );
    const ca =
      store.ca === undefined
        ? []
        : [
            new RemoteFile(
              `${name}-ca`,
              { host, path: `${STATE}/backup-store-ca.pem`, content: `${store.ca}\n` },
              first,
            ),
          ];
    new RemoteFile(
      `${name}-configuration`,
      {
        host,
        path: configuration,
        content: pulumi.secret(store.secretAccessKey).apply((secretAccessKey) =>
          renderTemplate("etc/matrix-homeserver/backup-store.cfg", {
            accessKeyId: store.accessKeyId,
            secretAccessKey,
            authority: new URL(store.endpoint).host,
            region: store.region ?? "us-east-1",
            caFiles: ca.map(({ path }) => ({ path })),
          }),
        ),
        mode: "0600",
        // A wrong key, bucket or name is found now, and not in the night.
        check: `${this.program} check "$file" ${quote(url)}`,
      },
      { parent: this, dependsOn: [s3cmd, program, ...ca] },
    );

    this.registerOutputs();
  }
}
