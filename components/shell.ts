import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a script is told: names in capitals, values as text. */
export type Variables = Readonly<Record<string, string>>;

/** `value` as one word of a POSIX shell, whatever is in it. */
export function quote(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/** The text of a file in scripts/. */
export function readScript(file: string): string {
  return readFileSync(join(__dirname, "..", "scripts", file), "utf8");
}

/**
 * A whole bash program for standard input (or a file): the variables, the common functions, then `script`, sorted so that equal inputs
 * always give equal text. Everything sits in one function, because bash would otherwise read the program line by line from
 * the same standard input that the commands in it inherit, and the first that reads it would swallow the rest. With `step` it is
 * a step of an update, of that name: one run of it at a time.
 */
export function composeScript(script: string, variables: Variables, step?: string): string {
  const prelude = Object.keys(variables)
    .sort()
    .map((name) => `${name}=${quote(variables[name] ?? "")}\n`)
    .join("");
  const begin = step === undefined ? "" : `begin_step ${quote(step)}\n`;
  return `#!/usr/bin/env bash\n${prelude}\nmain() {\n${withoutShebang(readScript("lib.sh"))}\n${begin}${withoutShebang(script)}}\nmain "$@" </dev/null\n`;
}

function withoutShebang(script: string): string {
  return script.replace(/^#!.*\n/, "");
}

/** A short name for what something was made from: equal parts give equal names. */
export function fingerprint(...parts: string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}
