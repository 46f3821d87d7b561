import type { types } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";

/** Folder on the host for programs that this one brings. */
export const LIBEXEC = "/usr/local/libexec/matrix-homeserver";

/** Folder on the host for what the program has to remember of it: whose it is, and what it changed there. */
export const STATE = "/etc/matrix-homeserver";

/** Folder on the host, root's alone to write to, for what lies ready to be put in place and what was there before. */
export const DATA = "/var/lib/matrix-homeserver";

/** What a command on a host needs to know of it. */
export interface Machine {
  readonly connection: pulumi.Input<types.input.remote.ConnectionArgs>;
  /** Put in front of a command that needs root: empty, or `sudo -n `. */
  readonly asRoot: string;
  /** What must have happened before anything else does. */
  readonly ready?: pulumi.Resource;
  /** Resources to run again although nothing of theirs changed, by name, each with a word that is new every time. Default: none. */
  readonly reconcile?: Readonly<Record<string, string>>;
}

/** The words by which resources of these names run again: none, or the latest of each. */
export function stampsOf({ reconcile = {} }: Machine, names: readonly string[]): string[] {
  return names.flatMap((name) => (Object.hasOwn(reconcile, name) ? [`${name} ${reconcile[name] ?? ""}`] : []));
}

/** The end of a resource's command that changes with those words, and means nothing to a shell. */
export function rerun(host: Machine, names: readonly string[]): string {
  return stampsOf(host, names)
    .map((stamp) => ` # again: ${stamp}`)
    .join("");
}
