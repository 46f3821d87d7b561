import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Host";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";

const FOLDER = "/etc/pki/matrix-homeserver";

/** Where a certificate comes from. */
export type CertificateSource =
  /** An authority of the machine's own, made on it: for servers that the world need not trust yet. */
  | { readonly mode: "selfsigned" }
  /** A certificate with its chain (PEM, the server's own first) and its private key (PEM, secret). */
  | { readonly mode: "provided"; readonly certificate: string; readonly key: pulumi.Input<string> };

/** Arguments of {@link TlsCertificate}. */
export interface TlsCertificateArgs {
  /** The machine that serves it. */
  readonly host: Machine;
  /** The DNS names it has to be good for. */
  readonly names: readonly string[];
  /** Where it comes from. */
  readonly source: CertificateSource;
}

/** The certificate that nginx serves with, in files on the host. */
export class TlsCertificate extends pulumi.ComponentResource {
  /** Paths on the host. */
  readonly certificatePath: string;
  readonly keyPath: string;
  /** The authority (PEM) that clients have to be given, where the certificate is of the machine's own making; else empty. */
  readonly caCertificate: pulumi.Output<string>;
  /** Path of the authority on the host; empty where the world's own are enough. */
  readonly caPath: string;
  /** Changes with the certificate. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: TlsCertificateArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:TlsCertificate", name, {}, opts);
    const { host, names, source } = args;
    this.certificatePath = `${FOLDER}/server.crt`;
    this.keyPath = `${FOLDER}/server.key`;
    const first = { parent: this, dependsOn: dependencies(opts) };

    if (source.mode === "selfsigned") {
      const made = new RemoteScript(
        `${name}-selfsigned`,
        {
          host,
          script: "tls-selfsigned.sh",
          variables: { FOLDER, NAMES: names.join(" "), CA_DAYS: 3650, DAYS: 820, RENEW_DAYS: 30 },
        },
        first,
      );
      this.caPath = `${FOLDER}/ca.crt`;
      this.caCertificate = made.stdout;
      this.revision = pulumi.output(fingerprint(...names));
    } else {
      // One file after the other would for a moment be a pair that does not match: nginx is told only after both.
      const key = new RemoteFile(
        `${name}-key`,
        {
          host,
          path: this.keyPath,
          content: pulumi.secret(source.key),
          mode: "0600",
          check: 'openssl pkey -in "$file" -noout',
        },
        first,
      );
      const certificate = new RemoteFile(
        `${name}-certificate`,
        { host, path: this.certificatePath, content: source.certificate, check: 'openssl x509 -in "$file" -noout' },
        { parent: this, dependsOn: key },
      );
      this.caPath = "";
      this.caCertificate = pulumi.output("");
      this.revision = certificate.content.apply((text) => fingerprint(text));
    }

    this.registerOutputs({ certificatePath: this.certificatePath, caCertificate: this.caCertificate });
  }
}
