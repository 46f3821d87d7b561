import * as pulumi from "@pulumi/pulumi";

import { CertificateRenewal } from "./CertificateRenewal";
import type { Machine } from "./Host";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";

const FOLDER = "/etc/pki/matrix-homeserver";
/** Where SELinux lets nginx read, too. */
const WEBROOT = "/var/www/matrix-homeserver";

/** Where a certificate comes from. */
export type CertificateSource =
  /** An authority of the machine's own, made on it: for servers that the world need not trust yet. */
  | { readonly mode: "selfsigned" }
  /** A certificate with its chain (PEM, the server's own first) and its private key (PEM, secret). */
  | { readonly mode: "provided"; readonly certificate: string; readonly key: pulumi.Input<string> }
  /**
   * An ACME server (RFC 8555), by its directory's URL; `email` hears of trouble. `ca` (PEM) is the authority of a private ACME
   * server and of what it issues.
   */
  | { readonly mode: "acme"; readonly email: string; readonly directory: string; readonly ca?: string };

/** Arguments of {@link TlsCertificate}. */
export interface TlsCertificateArgs {
  /** The machine that serves it. */
  readonly host: Machine;
  /** The DNS names it has to be good for. */
  readonly names: readonly string[];
  /** Where it comes from. */
  readonly source: CertificateSource;
}

/**
 * The certificate that nginx serves with, in files on the host that are named after where it comes from, so that a change of
 * that never removes what is in use. With ACME it is a stand-in until nginx runs and AcmeCertificate gets the real one.
 */
export class TlsCertificate extends pulumi.ComponentResource {
  /** Paths on the host. */
  readonly certificatePath: string;
  readonly keyPath: string;
  /** The names that it is good for. */
  readonly names: readonly string[];
  /** The authority (PEM) that clients have to be given, where the world does not know it; else empty. */
  readonly caCertificate: pulumi.Output<string>;
  /** Path of the authority on the host; empty where the world's own are enough. */
  readonly caPath: string;
  /** Folder from which an ACME server reads that a name is this machine's; undefined when none has to. */
  readonly webroot: string | undefined;
  /** Changes with the certificate, as far as an update and not the machine changes it. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: TlsCertificateArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:TlsCertificate", name, {}, opts);
    const { host, names, source } = args;
    const { mode } = source;
    const first = { parent: this, dependsOn: dependencies(opts) };
    this.certificatePath = `${FOLDER}/${mode}.crt`;
    this.keyPath = `${FOLDER}/${mode}.key`;
    this.names = names;
    this.webroot = mode === "acme" ? WEBROOT : undefined;

    switch (source.mode) {
      case "selfsigned": {
        this.caPath = `${FOLDER}/ca.crt`;
        const script = "tls-selfsigned.sh";
        const variables = { FOLDER, NAMES: names.join(" "), CA_DAYS: 3650, DAYS: 820, RENEW_DAYS: 60 };
        const made = new RemoteScript(`${name}-selfsigned`, { host, script, variables }, first);
        new CertificateRenewal(
          `${name}-renewal`,
          { host, unit: "matrix-homeserver-selfsigned", script, variables },
          { parent: this, dependsOn: made },
        );
        this.caCertificate = made.stdout;
        this.revision = pulumi.output(fingerprint(...names));
        break;
      }
      case "provided": {
        this.caPath = "";
        const file = (path: string, content: pulumi.Input<string>, check: string, mode: string) =>
          new RemoteFile(
            `${name}-${mode === "0600" ? "key" : "certificate"}`,
            { host, path, content, check, mode },
            first,
          );
        // For a moment they may be a pair that does not match: nginx is told only after both.
        file(this.keyPath, pulumi.secret(source.key), 'openssl pkey -in "$file" -noout', "0600");
        file(this.certificatePath, source.certificate, 'openssl x509 -in "$file" -noout', "0644");
        this.caCertificate = pulumi.output("");
        this.revision = pulumi.output(fingerprint(source.certificate));
        break;
      }
      case "acme": {
        this.caPath = source.ca === undefined ? "" : `${FOLDER}/acme-ca.crt`;
        new RemoteScript(
          `${name}-stand-in`,
          { host, script: "tls-stand-in.sh", variables: { FOLDER, NAMES: names.join(" "), WEBROOT } },
          first,
        );
        if (source.ca !== undefined) {
          new RemoteFile(`${name}-acme-ca`, { host, path: this.caPath, content: source.ca }, first);
        }
        this.caCertificate = pulumi.output(source.ca ?? "");
        this.revision = pulumi.output(fingerprint(source.directory, ...names));
        break;
      }
    }

    this.registerOutputs({ certificatePath: this.certificatePath, caCertificate: this.caCertificate });
  }
}
