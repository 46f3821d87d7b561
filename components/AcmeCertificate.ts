import * as pulumi from "@pulumi/pulumi";

import { DATA } from "./Machine";
import { dependencies } from "./options";
import { type PythonOnHost, PythonVenv, toolArgs } from "./PythonVenv";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import { TimedProgram } from "./TimedProgram";
import type { TlsCertificate } from "./TlsCertificate";

/** The ACME account and what was issued: asking for it again and again would run into the ACME server's limits. */
const ACME = `${DATA}/acme`;

/** Arguments of {@link AcmeCertificate}. */
export interface AcmeCertificateArgs extends PythonOnHost {
  /** The files that nginx serves with; with ACME as their source. */
  readonly certificate: TlsCertificate;
  /** Who hears of trouble. */
  readonly email: string;
  /** URL of the ACME server's directory. */
  readonly directory: string;
}

/**
 * A certificate from an ACME server for what nginx serves already, by HTTP-01 (port 80), and its renewal. It is certbot in an
 * environment of its own, since EL8's package is years old and its Python out of support. Kept on `pulumi destroy`.
 */
export class AcmeCertificate extends pulumi.ComponentResource {
  constructor(name: string, args: AcmeCertificateArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:AcmeCertificate", name, {}, opts);
    const { host, certificate, directory } = args;
    const certbot = new PythonVenv(`${name}-certbot`, toolArgs("certbot", "import certbot.main", args), {
      parent: this,
      dependsOn: dependencies(opts),
    });

    const script = "tls-acme.sh";
    const description = "Renewal of the homeserver's TLS certificate";
    const variables = {
      CERTBOT: `${certbot.link}/bin/certbot`,
      DIRECTORY: directory,
      EMAIL: args.email,
      NAMES: certificate.names.join(" "),
      WEBROOT: certificate.webroot ?? "",
      // What one server has issued says nothing about another's.
      DATA: `${ACME}/${fingerprint(directory)}`,
      CERTIFICATE: certificate.certificatePath,
      KEY: certificate.keyPath,
      CA_FILE: certificate.caPath,
    };
    const issuance = new RemoteScript(
      `${name}-issuance`,
      { host, script, variables },
      { parent: this, dependsOn: [...dependencies(opts), certbot] },
    );
    new TimedProgram(
      `${name}-renewal`,
      { host, unit: "matrix-homeserver-acme", description, script, variables },
      { parent: this, dependsOn: issuance },
    );

    this.registerOutputs();
  }
}
