import * as pulumi from "@pulumi/pulumi";

import { LIBEXEC, type Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { programText, RemoteScript, type ScriptVariables } from "./RemoteScript";
import { renderTemplate } from "./templates";

/** Arguments of {@link TimedProgram}. */
export interface TimedProgramArgs {
  /** The machine that it runs on. */
  readonly host: Machine;
  /** Name of the service's and the timer's unit, without the suffix. */
  readonly unit: string;
  /** Name of the program, in {@link LIBEXEC}. Default: the unit's. */
  readonly program?: string;
  /** What `systemctl status` calls it. */
  readonly description: string;
  /** File in scripts/. */
  readonly script: string;
  /** What it is told. No secrets: whoever can log in to the machine can read it. */
  readonly variables: ScriptVariables;
  /** When it runs, as systemd's OnCalendar has it. A time that passed while the machine was off is made up for. Default: `daily`. */
  readonly schedule?: string;
  /** It is put off by a time of its own, up to this, as systemd writes it. Default: `6h`. */
  readonly randomDelay?: string;
  /** After how long it is ended, as systemd writes it. Default: `15min`. */
  readonly timeout?: string;
  /** Units on this machine that start before it, when they start at all. Default: none. */
  readonly after?: readonly string[];
}

/** A program that the machine itself runs by the clock, so that no update has to be made for it; and can be run by hand. */
export class TimedProgram extends pulumi.ComponentResource {
  constructor(name: string, args: TimedProgramArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:TimedProgram", name, {}, opts);
    const { host, unit, description } = args;
    const program = `${LIBEXEC}/${args.program ?? unit}`;
    const file = new RemoteFile(
      `${name}-program`,
      { host, path: program, content: programText(args.script, args.variables), mode: "0755" },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const unitText = (kind: "service" | "timer", view: object) =>
      renderTemplate(`etc/systemd/system/timed.${kind}`, { description, ...view });
    new RemoteScript(
      `${name}-activation`,
      {
        host,
        script: "timer.sh",
        variables: {
          UNIT: unit,
          SERVICE: unitText("service", { program, timeout: args.timeout ?? "15min", after: args.after ?? [] }),
          TIMER: unitText("timer", { schedule: args.schedule ?? "daily", randomDelay: args.randomDelay ?? "6h" }),
          INSTALL_FILE: `${LIBEXEC}/install-file`,
        },
        follows: [file.name],
        onDelete: {
          script: "remove-service.sh",
          variables: {
            UNIT: `${unit}.timer`,
            PATHS: ["service", "timer"].map((kind) => `/etc/systemd/system/${unit}.${kind}`).join("\n"),
          },
        },
      },
      { parent: this, dependsOn: file },
    );

    this.registerOutputs();
  }
}
