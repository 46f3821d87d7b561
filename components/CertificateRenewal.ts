import * as pulumi from "@pulumi/pulumi";

import { LIBEXEC, type Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { programText, RemoteScript, type ScriptVariables } from "./RemoteScript";
import { renderTemplate } from "./templates";

/** Arguments of {@link CertificateRenewal}. */
export interface CertificateRenewalArgs {
  /** The machine that has the certificate. */
  readonly host: Machine;
  /** Name of the timer's unit, without its suffix. */
  readonly unit: string;
  /** File in scripts/ that renews what is due and tells nginx. `--force` makes it renew what is not. */
  readonly script: string;
  /** What it is told. No secrets: whoever can log in to the machine can read it. */
  readonly variables: ScriptVariables;
}

/** A timer on the machine that looks every day whether a certificate is due, so that no update has to be made for it. */
export class CertificateRenewal extends pulumi.ComponentResource {
  constructor(name: string, args: CertificateRenewalArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:CertificateRenewal", name, {}, opts);
    const { host, unit } = args;
    const program = `${LIBEXEC}/${unit}`;
    const first = { parent: this, dependsOn: dependencies(opts) };
    const systemdFile = (kind: "service" | "timer") =>
      new RemoteFile(
        `${name}-${kind}`,
        {
          host,
          path: `/etc/systemd/system/${unit}.${kind}`,
          content: renderTemplate(`etc/systemd/system/renewal.${kind}`, { program }),
          // The script below stops the timer first.
          keep: true,
        },
        first,
      );

    const files = [
      new RemoteFile(
        `${name}-program`,
        { host, path: program, content: programText(args.script, args.variables), mode: "0755" },
        first,
      ),
      systemdFile("service"),
      systemdFile("timer"),
    ];
    new RemoteScript(
      `${name}-activation`,
      {
        host,
        script: "timer.sh",
        variables: { UNIT: `${unit}.timer` },
        onDelete: {
          script: "remove-service.sh",
          variables: {
            UNIT: `${unit}.timer`,
            PATHS: files
              .slice(1)
              .map(({ path }) => path)
              .join("\n"),
          },
        },
      },
      { parent: this, dependsOn: files },
    );

    this.registerOutputs();
  }
}
