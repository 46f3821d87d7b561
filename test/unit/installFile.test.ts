/* scripts/install-file.sh as a process of this machine, in a folder of its own. Owners are looked at only when root runs this. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { SCRIPTS } from "./mocks";

const SCRIPT = join(SCRIPTS, "install-file.sh");
const isRoot = userInfo().uid === 0;
const me = `${userInfo().uid}:${userInfo().gid}`;

let folder: string;
let target: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "install-file-"));
  target = join(folder, "some.conf");
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

interface Request {
  readonly content?: string;
  readonly owner?: string;
  readonly mode?: string;
  readonly check?: string;
  readonly checkInPlace?: string;
  readonly path?: string;
}

function argumentsOf({ owner = me, mode = "0640", path = target, check, checkInPlace }: Request): string[] {
  const checks = checkInPlace !== undefined ? [check ?? "", checkInPlace] : check !== undefined ? [check] : [];
  return [SCRIPT, owner, mode, path, ...checks];
}

function install(request: Request = {}): { status: number | null; stdout: string; stderr: string } {
  return spawnSync("bash", argumentsOf(request), { input: request.content ?? "new\n", encoding: "utf8" });
}

const content = () => readFileSync(target, "utf8");
const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);
/** That the target has this content and that nothing else was left in its folder. */
function expectOnly(text: string): void {
  expect(readdirSync(folder)).toEqual([basename(target)]);
  expect(content()).toBe(text);
}

describe("a file that is fit", () => {
  test("is put in place as it was sent, with its mode, and without a word", () => {
    expect(install({ content: "a\n\n  b\\n$HOME 'x'", mode: "0604" })).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "",
    });
    expectOnly("a\n\n  b\\n$HOME 'x'");
    expect(modeOf(target)).toBe("604");
  });

  test.each(["", "\n", "no newline at its end", "x".repeat(300_000)])("can have any content (case %#)", (text) => {
    expect(install({ content: text }).status).toBe(0);
    expectOnly(text);
  });

  test("replaces the old one, whatever that one's mode was", () => {
    writeFileSync(target, "old\n");
    chmodSync(target, 0o777);
    expect(install({ mode: "0600" }).status).toBe(0);
    expectOnly("new\n");
    expect(modeOf(target)).toBe("600");
  });

  test("is there at every moment: who has the old one open goes on reading it", () => {
    writeFileSync(target, "old\n");
    const before = statSync(target).ino;
    const held = join(folder, "held");
    expect(spawnSync("ln", [target, held]).status).toBe(0);
    expect(install().status).toBe(0);
    expect(readFileSync(held, "utf8")).toBe("old\n");
    expect(statSync(target).ino).not.toBe(before);
  });

  test("takes the place of a link, and leaves alone what that points to", () => {
    const other = join(folder, "other");
    writeFileSync(other, "other\n");
    symlinkSync(other, target);
    expect(install().status).toBe(0);
    expect(lstatSync(target).isSymbolicLink()).toBe(false);
    expect(content()).toBe("new\n");
    expect(readFileSync(other, "utf8")).toBe("other\n");
  });

  test("brings its folder along, which all may look into", () => {
    const path = join(folder, "a/b/c.conf");
    expect(install({ path, mode: "0600" }).status).toBe(0);
    expect(readFileSync(path, "utf8")).toBe("new\n");
    expect(modeOf(dirname(path))).toBe("755");
    expect(readdirSync(dirname(path))).toEqual(["c.conf"]);
  });

  test("is not put over a folder", () => {
    mkdirSync(target);
    expect(install().status).not.toBe(0);
    expect(readdirSync(target)).toEqual([]);
    expect(readdirSync(folder)).toEqual([basename(target)]);
  });

  test("is for nobody else's eyes while it arrives, and the old one is in use until it is there", async () => {
    writeFileSync(target, "old\n");
    const child = spawn("bash", argumentsOf({ mode: "0644" }), { stdio: ["pipe", "ignore", "ignore"] });
    const stage = join(folder, ".some.conf.staged");
    const arriving = join(stage, "some.conf");
    child.stdin.write("half");
    const hasHalf = () => existsSync(arriving) && readFileSync(arriving, "utf8") === "half";
    while (!hasHalf() && child.exitCode === null) await delay(10);
    const seen = [modeOf(stage), modeOf(arriving), content()];
    child.stdin.end(" and whole\n");
    await once(child, "exit");
    expect(seen).toEqual(["700", "600", "old\n"]);
    expectOnly("half and whole\n");
  });

  (isRoot ? test : test.skip)("has its owner and group (needs root)", () => {
    expect(install({ owner: "nobody:daemon" }).status).toBe(0);
    const { stdout } = spawnSync("stat", ["-c", "%U:%G %a", target], { encoding: "utf8" });
    expect(stdout).toBe("nobody:daemon 640\n");
  });

  test("is not left half owned when its owner does not exist", () => {
    writeFileSync(target, "old\n");
    const { status, stderr } = install({ owner: "no-such-account:no-such-group" });
    expect(status).not.toBe(0);
    expect(stderr).toContain("no-such-account");
    expectOnly("old\n");
  });

  test.each([
    "with blanks.conf",
    "it's.conf",
    "-n",
    "--help",
    "$(touch pwned).conf",
    "a;b&c|d.conf",
    "*.conf",
    'quote".conf',
    "back\\slash.conf",
    "line\nbreak.conf",
    ".hidden",
    "ünïcode.conf",
    "x".repeat(240),
  ])("can be named %j", (name) => {
    target = join(folder, name);
    writeFileSync(target, "old\n");
    expect(install({ check: 'grep -q new "$file"', checkInPlace: `grep -rq new ${folder}` })).toMatchObject({
      status: 0,
      stderr: "",
    });
    expectOnly("new\n");
  });
});

describe("a check", () => {
  test("sees the new file at $file, under its own name, with its mode, while the old one is in use", () => {
    writeFileSync(target, "old\n");
    const check = `[[ $(cat "$file") == new && $(cat '${target}') == old && $(basename "$file") == some.conf && $(stat -c %a "$file") == 640 ]]`;
    expect(install({ check })).toMatchObject({ status: 0, stderr: "" });
    expectOnly("new\n");
  });

  test("reads nothing of the new file by mistake", () => {
    expect(install({ content: "new\n", check: "[[ -z $(cat) ]]", checkInPlace: "[[ -z $(cat) ]]" }).status).toBe(0);
    expectOnly("new\n");
  });

  test.each(["false", "false; true", "echo $NOT_SET", "false | cat", "exit 3", "no-such-command", "if"])(
    "that ends with %j fails",
    (check) => {
      writeFileSync(target, "old\n");
      expect(install({ check }).status).not.toBe(0);
      expectOnly("old\n");
    },
  );

  (isRoot ? test : test.skip)(
    "can be made by the account that will read the file, and by nobody else before (needs root)",
    () => {
      chmodSync(folder, 0o755);
      const asNobody = (command: string) => `runuser -u nobody -- bash -c '${command}' _ "$file"`;
      expect(install({ owner: "nobody:root", mode: "0600", check: asNobody('grep -q new "$1"') }).status).toBe(0);
      expect(install({ owner: "root:root", mode: "0600", check: asNobody('! cat "$1"') }).status).toBe(0);
    },
  );

  test("that fails leaves the old file, says why, and leaves nothing beside it", () => {
    writeFileSync(target, "old\n");
    chmodSync(target, 0o604);
    const { status, stdout, stderr } = install({ check: "echo 'line 1 is wrong' >&2; exit 1" });
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toBe(
      `line 1 is wrong\nerror: the new ${target} is not valid (see above); the old one was left in place\n`,
    );
    expectOnly("old\n");
    expect(modeOf(target)).toBe("604");
  });

  test("that fails where there was no file leaves none", () => {
    expect(install({ check: "false" }).status).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that says a lot is cut to its last words", () => {
    const { stderr } = install({ check: "seq 1000; exit 1" });
    expect(stderr.split("\n").slice(0, 2)).toEqual(["971", "972"]);
  });

  test("can be left out between, for one in place only", () => {
    expect(install({ check: "", checkInPlace: "true" }).status).toBe(0);
    expectOnly("new\n");
  });
});

describe("a check in place", () => {
  test("sees the new file where it belongs", () => {
    writeFileSync(target, "old\n");
    expect(install({ checkInPlace: `grep -q new '${target}'` }).status).toBe(0);
    expectOnly("new\n");
  });

  test("that fails puts the old file back as it was", () => {
    writeFileSync(target, "old\n");
    chmodSync(target, 0o604);
    const { mtimeMs } = statSync(target);
    const { status, stderr } = install({ checkInPlace: `cat '${target}'; exit 1` });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^new\nerror: the new .* is not valid \(see above\); the old one was left in place\n$/);
    expectOnly("old\n");
    expect(modeOf(target)).toBe("604");
    expect(statSync(target).mtimeMs).toBeCloseTo(mtimeMs, 0);
  });

  test("that fails where there was no file leaves none", () => {
    expect(install({ checkInPlace: "false" }).status).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("is not made when the first check fails", () => {
    const mark = join(folder, "mark");
    expect(install({ check: "false", checkInPlace: `touch '${mark}'` }).status).toBe(1);
    expect(existsSync(mark)).toBe(false);
  });
});

describe("a run that was killed", () => {
  /** Kills a run and all of its children while the command `at` of one of its checks is running. */
  async function killed(request: (wait: string) => Request): Promise<void> {
    const mark = join(folder, "mark");
    const child = spawn("bash", argumentsOf(request(`touch '${mark}'; sleep 60`)), {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.stdin.end("killed\n");
    while (!existsSync(mark) && child.exitCode === null) await delay(10);
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await once(child, "exit");
    rmSync(mark);
  }

  test("during its check leaves the old file in use, and the next run clears up", async () => {
    writeFileSync(target, "old\n");
    await killed((check) => ({ check }));
    expect(content()).toBe("old\n");
    expect(install().status).toBe(0);
    expectOnly("new\n");
  });

  test("during its check in place: the next run puts the proven file back before it does anything else", async () => {
    writeFileSync(target, "old\n");
    await killed((checkInPlace) => ({ checkInPlace }));
    expect(content()).toBe("killed\n");
    expect(install({ check: `[[ $(cat '${target}') == old ]]` }).status).toBe(0);
    expectOnly("new\n");
  });

  test("during its check in place: a next run that is refused leaves the proven file", async () => {
    writeFileSync(target, "old\n");
    await killed((checkInPlace) => ({ checkInPlace }));
    expect(install({ check: "false" }).status).toBe(1);
    expectOnly("old\n");
    await killed((checkInPlace) => ({ checkInPlace }));
    expect(install({ checkInPlace: "false" }).status).toBe(1);
    expectOnly("old\n");
  });

  test("during its check in place, where there was no file: the next run that is refused leaves none", async () => {
    await killed((checkInPlace) => ({ checkInPlace }));
    expect(content()).toBe("killed\n");
    expect(install({ check: "false" }).status).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("can be killed over and over and still restores the file that was proven", async () => {
    writeFileSync(target, "old\n");
    for (let run = 0; run < 3; run += 1) await killed((checkInPlace) => ({ checkInPlace }));
    expect(install({ checkInPlace: "false" }).status).toBe(1);
    expectOnly("old\n");
  });
});

test("a run that is told to stop leaves the old file and nothing beside it", async () => {
  writeFileSync(target, "old\n");
  const mark = join(folder, "mark");
  const child = spawn("bash", argumentsOf({ checkInPlace: `touch '${mark}'; sleep 60` }), {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.stdin.end("stopped\n");
  while (!existsSync(mark) && child.exitCode === null) await delay(10);
  process.kill(-(child.pid ?? 0), "SIGTERM");
  await once(child, "exit");
  rmSync(mark);
  expectOnly("old\n");
});
