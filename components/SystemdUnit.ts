import * as pulumi from "@pulumi/pulumi";

import { DATA, type Machine, stampsOf } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import { renderTemplate } from "./templates";

/** Arguments of {@link SystemdUnit}. */
export interface SystemdUnitArgs {
  /** The machine. */
  readonly host: Machine;
  /** Name of the unit, without `.service`. */
  readonly unit: string;
  /** What `systemctl status` calls it. */
  readonly description: string;
  /** The account that it runs as, and its working directory. */
  readonly user: string;
  readonly workingDirectory: string;
  /** Command line of the main process, which tells systemd when it is ready (`Type=notify`). */
  readonly command: string;
  /** Folders that it may write to. Default: none. */
  readonly writable?: readonly string[];
  /** Units on this machine that start before it, when they start at all. Default: none. */
  readonly after?: readonly string[];
  /** Unit that it starts, stops and reloads with. Default: none. */
  readonly partOf?: string;
  /** Changes with what it reads, which is in place when this is made. */
  readonly reads: pulumi.Input<string>;
  /** Shell command that succeeds when it works. No secrets. */
  readonly probe: string;
  /** How long a start may take, in seconds. Default: 120. */
  readonly startSeconds?: number;
}

/** A service that is kept running, and is started anew when its unit or what it reads changed. It has to work then, or the update fails. */
export class SystemdUnit extends pulumi.ComponentResource {
  /** Changes with every change of what the service runs. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: SystemdUnitArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SystemdUnit", name, {}, opts);
    const { host, unit, startSeconds = 120, writable = [], after = [], partOf = null } = args;
    const file = new RemoteFile(
      `${name}-unit`,
      {
        host,
        path: `/etc/systemd/system/${unit}.service`,
        content: renderTemplate("etc/systemd/system/service", {
          ...{ name: unit, description: args.description, user: args.user, workingDirectory: args.workingDirectory },
          ...{ command: args.command, writable, after, partOf, startSeconds },
          wantedBy: partOf ?? "multi-user.target",
        }),
        check: 'systemd-analyze verify "$file"',
        // The script below stops the service first.
        keep: true,
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    this.revision = pulumi
      .all([file.content, args.reads])
      .apply((parts) => fingerprint(...parts, ...stampsOf(host, [file.name])));
    const running = `${DATA}/running-${unit}`;
    new RemoteScript(
      `${name}-activation`,
      {
        host,
        script: "unit.sh",
        variables: {
          UNIT: `${unit}.service`,
          REVISION: this.revision,
          RUNNING: running,
          PROBE: args.probe,
          START_SECONDS: startSeconds,
        },
        onDelete: {
          script: "remove-service.sh",
          variables: { UNIT: `${unit}.service`, PATHS: [file.path, running].join("\n") },
        },
      },
      { parent: this, dependsOn: [...dependencies(opts), file] },
    );

    this.registerOutputs({ revision: this.revision });
  }
}
