/*
 * What tools/drift.ts makes of a stack's state and of a machine's answer. Not proven here: that the machine is looked at rightly
 * (test/e2e/drift.test.ts).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { composeScript } from "../../components/shell";
import { lookProgram, LOOKS, report } from "../../tools/drift";

const isRoot = process.getuid?.() === 0;
const secret = (value: string) => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  plaintext: JSON.stringify(value),
});
const script = (body: string, variables = {}) =>
  composeScript(`#!/usr/bin/env bash\n# A script.\nset -euo pipefail\n${body}`, variables);
const run = (name: string, stdin: unknown, create = "sudo -n timeout --kill-after=30 900 bash -s") => ({
  urn: `urn:pulumi:s::p::command:remote:Command::${name}`,
  type: "command:remote:Command",
  inputs: { create, stdin },
});
const file = (name: string, path: string, content: unknown, owner: string, mode = "0644") =>
  run(
    name,
    content,
    `/usr/local/libexec/matrix-homeserver/install-file ${owner} ${mode} ${path} '' 'nginx -t' # again: x y`,
  );
const state = (...resources: object[]) => JSON.stringify({ deployment: { resources } });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drift-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** The look at this machine, which root alone can make, as its answer is needed in /run. */
const look = (...resources: object[]) => {
  const { status, stdout, stderr } = spawnSync("bash", ["-s"], {
    input: lookProgram(state(...resources)),
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
};

(isRoot ? describe : describe.skip)("a look", () => {
  test("names a file's content, attributes and absence, and shows no secret", () => {
    const [same, other, hidden, missing] = ["same", "other", "hidden", "missing"].map((name) => join(folder, name));
    if (!same || !other || !hidden || !missing) throw new Error("no names");
    writeFileSync(same, "text\n", { mode: 0o644 });
    writeFileSync(other, "by hand\n", { mode: 0o600 });
    writeFileSync(hidden, "somebody's secret\n", { mode: 0o644 });
    const answer = look(
      file("a-same", same, "text\n", "root:root"),
      file("a-other", other, "text\n", "root:root"),
      file("a-hidden", hidden, secret("our secret\n"), "root:root"),
      file("a-missing", missing, "text\n", "root:root"),
    );
    expect(report(answer, "prod")).toBe(`files
  ${hidden}: its content differs (secret, not shown)
  ${missing}: it is missing
  ${other}: its content differs
    --- as the stack has it
    +++ as it is on the machine
    @@ -1 +1 @@
    -text
    +by hand
  ${other}: its owner and mode are root:root 0600 and should be root:root 0644
4 differences from what the stack prod says (files: 4). Nothing was changed.
To put them right: make reconcile STACK=prod
`);
  });

  test("runs no script that could act: one of an earlier version is named instead", () => {
    const made = join(folder, "made");
    const answer = look(
      run("b-earlier", script(`touch ${made}\n`)),
      // The mark in what a script is told is not its own.
      run("b-told", script(`touch ${made}\n`, { OTHER: `\nmain() {\n${LOOKS}\n` })),
      { ...run("b-going", script(`${LOOKS}\ntouch ${made}\n`)), delete: true },
      run("b-looks", script(`${LOOKS}\nchange file x "it is away" touch ${made}\n`)),
      run("b-fails", script(`${LOOKS}\nfail "it does not answer"\n`)),
    );
    expect(existsSync(made)).toBe(false);
    expect(report(answer, "prod")).toBe(`files
  x: it is away
not looked at
  b-earlier: it was deployed by an earlier version of this program: run pulumi up
  b-told: it was deployed by an earlier version of this program: run pulumi up
  b-fails: it does not answer
1 difference from what the stack prod says (files: 1). Nothing was changed.
To put them right: make reconcile STACK=prod
`);
  });
});

test("what only a backup brings back is not put right by an update", () => {
  const answer = "homeserver-signing-key\tlost\t/opt/synapse/x.signing.key\tthe signing key is missing\t\nend\n";
  expect(report(answer, "prod")).not.toMatch(/make reconcile/);
  expect(report(answer, "prod")).toMatch(/comes back from a backup/);
});

test("an answer that was cut off is no answer", () => {
  expect(() => report("a\tfile\tx\tit is missing\t\n", "prod")).toThrow("not whole");
});

test("a stack that deployed nothing has nothing to look at", () => {
  expect(() => lookProgram('{"deployment":{}}')).toThrow("nothing is deployed yet");
});
