/*
 * What is put together for a shell on the host, given to real shells; and what every file in scripts/ keeps to. Not proven
 * here: what the scripts do on a machine (test/e2e).
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

import fc from "fast-check";

import { FIXED, LOOKS } from "../../tools/drift";
import { composeScript, fingerprint, quote, type Variables } from "../../components/shell";
import { declaredVariables, readScriptFile, SCRIPTS, scriptCall, wordsOf } from "./mocks";

/** Any text that a process can be given: all but NUL. */
const anyText = fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.replaceAll("\0", ""));
/** Text that shells make much of. */
const nastyText = fc.string({
  unit: fc.constantFrom(...Array.from("'\"\\$`!*?[]{}()<>|&;#~=% \t\n\r-^"), "'\\''", "$(", "\\\n", "ü"),
});

describe("quote", () => {
  const shells = ["bash", "sh", "dash", "busybox"].filter((shell) => spawnSync(shell, ["-c", "true"]).status === 0);

  test("there are shells to ask", () => {
    expect(shells).toEqual(expect.arrayContaining(["bash", "sh"]));
  });

  // Many values a process, because starting one takes longer than all else.
  test.each(shells)("%s reads back every value", (shell) => {
    const values = fc.array(fc.oneof(anyText, nastyText), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, (texts) => {
        expect(readBack(shell, texts)).toEqual(texts);
      }),
      { numRuns: 15 },
    );
  });

  test.each([
    ["plain", "plain"],
    ["/opt/synapse/env-1.2_3", "/opt/synapse/env-1.2_3"],
    ["a=b,c:d@e%f+g", "a=b,c:d@e%f+g"],
    ["", "''"],
    ["it's", "'it'\\''s'"],
    ["~", "'~'"],
    ["a b", "'a b'"],
    ["a\n", "'a\n'"],
  ])("%j is written as %s", (value, word) => {
    expect(quote(value)).toBe(word);
  });

  test("a quoted command line can itself be quoted", () => {
    fc.assert(
      fc.property(nastyText, (text) => {
        const inner = `printf %s ${quote(text)}`;
        expect(wordsOf(`bash -c ${quote(inner)}`)).toEqual(["bash", "-c", inner]);
      }),
    );
    expect(spawnSync("bash", ["-c", `bash -c ${quote(`printf %s ${quote("it's $HOME")}`)}`]).stdout.toString()).toBe(
      "it's $HOME",
    );
  });

  function readBack(shell: string, texts: string[]): string[] {
    const program = `printf '%s\\0' ${texts.map(quote).join(" ")}\n`;
    const { stdout, stderr } = spawnSync(shell, shell === "busybox" ? ["sh"] : [], { input: program });
    expect(stderr.toString()).toBe("");
    return stdout.toString().split("\0").slice(0, -1);
  }
});

describe("composeScript", () => {
  test("gives a script its variables, whatever is in them", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(anyText, nastyText), { minLength: 20, maxLength: 60 }), (texts) => {
        const names = texts.map(
          (_text, index) => `V_${"ABCDEFGHIJ"[Math.floor(index / 10)] ?? ""}${"ABCDEFGHIJ"[index % 10] ?? ""}`,
        );
        const variables = Object.fromEntries(names.map((name, index) => [name, texts[index] ?? ""]));
        const { stdout } = run(`printf '%s\\0' ${names.map((name) => `"$${name}"`).join(" ")}\n`, variables);
        expect(stdout.split("\0").slice(0, -1)).toEqual(texts);
      }),
      { numRuns: 5 },
    );
  });

  test("is the same text for the same variables in another order, and sorts them", () => {
    const text = composeScript("true\n", { B: "2", A: "1", C: "3" });
    expect(text).toBe(composeScript("true\n", { C: "3", A: "1", B: "2" }));
    expect(text).toMatch(/A=1\nB=2\nC=3\n/);
  });

  test("is read to its end before a command in it can read any of it", () => {
    const { status, stdout } = run("cat\ncat -\nread -r line || true\nbash -s\necho the end\n");
    expect({ status, stdout }).toEqual({ status: 0, stdout: "the end\n" });
  });

  test.each([
    ["a command that fails", "false\necho went on\n", 1],
    ["a command in the middle of a pipe", "false | cat\necho went on\n", 1],
    ["a variable that was never told", 'echo "$NEVER"\necho went on\n', 1],
    ["one that asks for its variables", ': "${NEVER:?}"\necho went on\n', 1],
    ["an exit of its own", "exit 7\n", 7],
    ["the common way to fail", "fail 'no good'\necho went on\n", 1],
    ["a substitution that fails", 'text=$(false)\necho "went on $text"\n', 1],
    ["a syntax error", "if true; then\n", 2],
  ])("ends with %s", (_name, script, expected) => {
    const { status, stdout } = run(script);
    expect({ status, stdout }).toEqual({ status: expected, stdout: "" });
  });

  test("says why it failed on stderr", () => {
    expect(run("fail 'no good: it is'\n").stderr).toBe("error: no good: it is\n");
  });

  test("is about the disk when that is full, whatever it made fail", () => {
    const full = "quietly bash -c 'echo \"OSError: [Errno 28] No space left on device\"; exit 1'";
    const { status, stderr } = run(`${full} || fail 'uv could not install it: check the package index'\n`);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^OSError.*\nerror: the machine's disk is full.*; what failed is that uv could not install it\n$/,
    );
  });

  test("names the machine's clock when a certificate was refused for its date", () => {
    const refused = "quietly bash -c 'echo \"SSL certificate problem: certificate is not yet valid\"; exit 1'";
    const { stderr } = run(`${refused} || fail 'dnf could not install it'\n`);
    expect(stderr).toMatch(
      /^SSL.*\nerror: dnf could not install it; a certificate was refused for its date \(see above\), and this machine's clock says \d{4}-\d\d-\d\d \d\d:\d\d UTC: when that is not so, set it first .*\n$/,
    );
  });

  test("as a step of an update waits for an earlier run of that step, and takes its place", () => {
    const step = `test-${process.pid}`;
    const lock = `/run/lock/matrix-homeserver-step-${step}`;
    const text = composeScript(`cat ${lock}\nrm ${lock}\n`, {}, step);
    const { status, stdout } = spawnSync("bash", ["-s"], { input: text, encoding: "utf8" });
    expect({ status, stdout: /^\d+\n$/.test(stdout) }).toEqual({ status: 0, stdout: true });
  });

  test("has the common functions", () => {
    const { status, stdout, stderr } = run(
      [
        "say progress",
        "quietly echo nothing",
        "quietly bash -c 'echo the reason; exit 3' || echo refused",
        "quietly bash -c 'kill -KILL $$' || echo refused",
        "wait_until 1 true && echo waited",
        "wait_until 0 false || echo gave up",
        "pgpass_field 'a:b\\c'",
      ].join("\n") + "\n",
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "refused\nrefused\nwaited\ngave up\na\\:b\\\\c" });
    expect(stderr).toBe(
      "progress\nthe reason\n\nit was killed: when the machine ran out of memory, 'journalctl -k' on it says so\n",
    );
  });

  test("works as an argument as well, which is how resources are removed", () => {
    const text = composeScript('echo "$A"\nexit 4\n', { A: "it's" });
    const { status, stdout } = spawnSync("bash", ["-c", `bash -c ${quote(text)}`], { encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 4, stdout: "it's\n" });
  });

  function run(script: string, variables: Variables = {}): { status: number | null; stdout: string; stderr: string } {
    const input = composeScript(`#!/usr/bin/env bash\nset -euo pipefail\n${script}`, variables);
    return spawnSync("timeout", ["20", "bash", "-s"], { input, encoding: "utf8" });
  }
});

describe("fingerprint", () => {
  test("is short, and the same for the same parts only", () => {
    const parts = fc.array(fc.string(), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(fingerprint(...a)).toMatch(/^[0-9a-f]{12}$/);
        expect(fingerprint(...a) === fingerprint(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  test("knows where one part ends and the next begins", () => {
    const names = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ['a","b'], ["a", "b"]].map((parts) =>
      fingerprint(...parts),
    );
    expect(new Set(names).size).toBe(names.length);
  });

  test("stays what it is: releases and revisions on hosts are named by it", () => {
    expect(fingerprint("a", "b")).toBe("0473ef2dc0d3");
  });
});

describe("scripts/", () => {
  const files = readdirSync(SCRIPTS);
  /** What they may use without being told. */
  const OF_BASH = ["SECONDS", "PATH", "HOME", "EUID", "RANDOM", "BASH_SOURCE"];
  const OF_A_LOOK = ["LOOK", "LOOK_WANTED"];
  const OF_OS_RELEASE = ["ID", "ID_LIKE", "VERSION_ID", "PRETTY_NAME"];

  test.each(files)("%s begins as all do: for bash, with a word about what it is for, and strictly", (file) => {
    expect(file).toMatch(/^[a-z-]+\.sh$/);
    expect(readScriptFile(file)).toMatch(/^#!\/usr\/bin\/env bash\n(# .*\n)+set -euo pipefail\n/);
    expect(readScriptFile(file)).toMatch(/[^\n]\n$/);
  });

  test.each(files)("%s is bash by its syntax, alone and as it is sent", (file) => {
    for (const input of [readScriptFile(file), composeScript(readScriptFile(file), {})])
      expect(spawnSync("bash", ["-n"], { input, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  });

  const told = files.filter((file) => file !== "lib.sh" && file !== "install-file.sh");
  test.each(told)("%s says in its head what it has to be told, and uses all of it and nothing else", (file) => {
    const script = readScriptFile(file);
    const declared = declaredVariables(script).map(({ name }) => name);
    const body = script.replace(/^: "\$\{.*\n/gm, "").replace(/^\s*#.*\n/gm, "");
    const set = [...body.matchAll(/(?:^|[\s;(])([A-Z][A-Z0-9_]*)\+?=/g)].map(([, name]) => name);
    const used = [...body.matchAll(/(?<!\\)\$\{?[#!]?([A-Z][A-Z0-9_]*)/g)].map(([, name = ""]) => name);
    const known = [...set, ...OF_BASH, ...OF_A_LOOK, ...(script.includes("/etc/os-release") ? OF_OS_RELEASE : [])];
    const undeclared = [...new Set(used)].filter((name) => !known.includes(name) && !declared.includes(name));
    // What a script is told only so that it runs again has no other use.
    const unused = declared.filter(
      (name) => !new RegExp(`\\b${name}\\b`).test(body) && !isForRunningAgain(script, name),
    );
    expect({ undeclared, unused }).toEqual({ undeclared: [], unused: [] });
    expect(declared).toEqual([...new Set(declared)]);
  });

  const others =
    /^(lib|install-file|adopt|adopt-read|look|backup|backup-store|restore|remove-.*|nginx-remove|firewall-close|last-backup-made|remains-kept|purge|postgresql-upgrade)\.sh$/;
  test.each(files.filter((file) => !others.test(file)))(
    "%s, which a resource runs, can look at what it made, or says that nothing of it can differ later",
    (file) => {
      const marks = [LOOKS, FIXED].filter((mark) => readScriptFile(file).includes(`\n${mark}\n`));
      expect(marks).toHaveLength(1);
      // What only looks has to ask whether it should.
      if (marks[0] === LOOKS)
        expect(readScriptFile(file)).toMatch(/\b(looking|change|enabled|running|differs|secret_file)\b/);
    },
  );

  test("a program text says which of them it is", () => {
    for (const file of files.filter((name) => name !== "lib.sh"))
      expect(scriptCall(composeScript(readScriptFile(file), { A: "it's", B: "" }))).toEqual({
        file,
        variables: { A: "it's", B: "" },
      });
  });

  function isForRunningAgain(script: string, name: string): boolean {
    return name === "REVISION" || new RegExp(`\\{${name}:?\\?[^}]*; a change is why this runs again\\}`).test(script);
  }
});
