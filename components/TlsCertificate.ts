import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import { TimedProgram } from "./TimedProgram";

/** Folder on the host for certificates and keys. */
export const PKI = "/etc/pki/matrix-homeserver";
/** Folder from which nginx answers ACME servers; SELinux lets nginx read there. */
export const WEBROOT = "/var/www/matrix-homeserver";

/** Where a certificate comes from. */
export type CertificateSource =
  /** An authority of the machine's own, made on it: for servers that the world need not trust yet. */
  | { readonly mode: "selfsigned" }
  /**
   * A certificate with its chain (PEM, the server's own first) and its private key (PEM, secret). `ca` (PEM) is the authority
   * behind it, where the world does not know it.
   */
  | {
      readonly mode: "provided";
      readonly certificate: string;
      readonly key: pulumi.Input<string>;
      readonly ca?: string;
    }
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
  /** Names of the resources that nginx has to read again after they were put right; what the machine makes itself it tells nginx of. */
  readonly files: readonly string[];
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
    this.certificatePath = `${PKI}/${mode}.crt`;
    this.keyPath = `${PKI}/${mode}.key`;
    this.names = names;
    this.files = mode === "provided" ? [`${name}-key`, `${name}-certificate`] : [];
    this.webroot = mode === "acme" ? WEBROOT : undefined;

    if (source.mode === "selfsigned") {
      const script = "tls-selfsigned.sh";
      const description = "Renewal of the homeserver's own TLS certificate";
      const variables = { FOLDER: PKI, NAMES: names.join(" "), CA_DAYS: 3650, DAYS: 820, RENEW_DAYS: 60 };
      const made = new RemoteScript(`${name}-selfsigned`, { host, script, variables }, first);
      new TimedProgram(
        `${name}-renewal`,
        { host, unit: "matrix-homeserver-selfsigned", description, script, variables },
        { parent: this, dependsOn: made },
      );
      this.caPath = `${PKI}/ca.crt`;
      this.caCertificate = made.stdout;
      this.revision = pulumi.output(fingerprint(...names));
    } else {
      const file = (suffix: string, path: string, content: pulumi.Input<string>, check: string, fileMode = "0644") =>
        new RemoteFile(`${name}-${suffix}`, { host, path, content, check, mode: fileMode }, first);
      const isCertificate = 'openssl x509 -in "$file" -noout';
      this.caPath = source.ca === undefined ? "" : `${PKI}/${mode}-ca.crt`;
      this.caCertificate = pulumi.output(source.ca ?? "");
      if (source.ca !== undefined) file(`${mode}-ca`, this.caPath, source.ca, isCertificate);

      if (source.mode === "provided") {
        // For a moment they may be a pair that does not match: nginx is told only after both.
        file("key", this.keyPath, pulumi.secret(source.key), 'openssl pkey -in "$file" -noout', "0600");
        file("certificate", this.certificatePath, source.certificate, isCertificate);
        this.revision = pulumi.output(fingerprint(source.certificate));
      } else {
        new RemoteScript(
          `${name}-stand-in`,
          { host, script: "tls-stand-in.sh", variables: { FOLDER: PKI, NAMES: names.join(" "), WEBROOT } },
          first,
        );
        this.revision = pulumi.output(fingerprint(source.directory, ...names));
      }
    }

    this.registerOutputs({ certificatePath: this.certificatePath, caCertificate: this.caCertificate });
  }
}
