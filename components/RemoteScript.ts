import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { type Machine, rerun } from "./Machine";
import { dependencies } from "./options";
import { composeScript, quote, readScript } from "./shell";

/** What a script is told: names in capitals, as the script's head lists them. */
export type ScriptVariables = Readonly<Record<string, pulumi.Input<string | number>>>;

/** Arguments of {@link RemoteScript}. */
export interface RemoteScriptArgs {
  /** Where it runs. */
  readonly host: Machine;
  /** File in scripts/, for example `packages.sh`. It must be able to run twice. */
  readonly script: string;
  /** What it is told. A secret value makes the whole program text secret. Default: nothing. */
  readonly variables?: ScriptVariables;
  /** What undoes it on `pulumi destroy`. Its variables become part of a command line: no secrets. Default: nothing is undone. */
  readonly onDelete?: { readonly script: string; readonly variables?: ScriptVariables };
  /** Shell command, as the login user, that tells what else may be wrong when it failed. Default: none. */
  readonly onFailure?: string;
  /** Names of resources that have no effect until this one has run after them: it runs again with them. Default: none. */
  readonly follows?: readonly string[];
  /** Seconds after which the host ends it. Default: 900. */
  readonly timeoutSeconds?: number;
}

/** A script in scripts/, run on the host as root when it or what it is told changes. */
export class RemoteScript extends remote.Command {
  constructor(name: string, args: RemoteScriptArgs, opts: pulumi.CustomResourceOptions) {
    const { host, script, onDelete, onFailure } = args;
    const explain = onFailure === undefined ? "" : ` || { status=$?; ${onFailure}; exit $status; }`;

    super(
      name,
      {
        connection: host.connection,
        create: `${host.asRoot}timeout --kill-after=30 ${args.timeoutSeconds ?? 900} bash -s${explain}${rerun(host, [name, ...(args.follows ?? [])])}`,
        stdin: programText(script, args.variables, script.replace(/\.sh$/, "")),
        ...(onDelete && {
          delete: programText(onDelete.script, onDelete.variables).apply(
            (text) => `${host.asRoot}bash -c ${quote(text)}`,
          ),
        }),
        logging: remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      { ...opts, dependsOn: afterReady(host, opts) },
    );
  }
}

/** The program that a script becomes with what it is told. Secret when one of the variables is. `step`: see composeScript. */
export function programText(script: string, variables: ScriptVariables = {}, step?: string): pulumi.Output<string> {
  return pulumi
    .output(variables)
    .apply((values) =>
      composeScript(
        readScript(script),
        Object.fromEntries(Object.entries(values).map(([variable, value]) => [variable, String(value)])),
        step,
      ),
    );
}

/** A resource's own dependencies, and that the host was found fit. */
export function afterReady(host: Machine, opts: pulumi.ResourceOptions): pulumi.Input<pulumi.Resource>[] {
  return host.ready ? [host.ready, ...dependencies(opts)] : dependencies(opts);
}
