/*
 * What is made of what a machine says of its last backup, and that a machine that cannot be asked is a warning, in time. That a real one
 * is asked, and what it then says, is test/e2e/backup.test.ts's.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";

import { judge, lastBackupWarning } from "../../components/backupWarning";

const HOUR = 3600;
/** 2026-11-25 03:30:00 UTC. */
const MADE = 1795577400;
const STAMP = "20261125T033000Z";
const SEE =
  "see 'systemctl status matrix-homeserver-backup' on the machine, and make one with 'systemctl start matrix-homeserver-backup'";

const answer = (lines: Readonly<Record<string, string | number>>) =>
  Object.entries({ now: MADE + HOUR, set_up: MADE - HOUR, ...lines })
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");

describe("judge", () => {
  test.each<[string, Record<string, string | number>]>([
    ["a good one of an hour ago", { result: "ok", time: STAMP, last_ok: STAMP }],
    ["one just young enough", { now: MADE + 50 * HOUR - 1, result: "ok", last_ok: STAMP }],
    ["one that is on its way", { unit: "activating", result: "begun", time: STAMP, last_ok: STAMP }],
    ["none yet, and nobody can expect one", { now: MADE + 48 * HOUR }],
  ])("is content with %s", (_what, lines) => {
    expect(judge(answer(lines), 50)).toBeUndefined();
  });

  it("says nothing of a machine that has no backups set up", () => {
    expect(judge(`now=${MADE}\n`, 50)).toBeUndefined();
  });

  test.each<[string, Record<string, string | number>, string]>([
    [
      "a failed one",
      { result: "failed", time: "20261126T033000Z", problem: "no room: 1=0", last_ok: STAMP },
      `the last backup failed, 2026-11-26 03:30 UTC (no room: 1=0); the last good one is of 2026-11-25 03:30 UTC; ${SEE}`,
    ],
    [
      "a first one that failed",
      { result: "failed", time: STAMP, problem: "it was cut off" },
      `the last backup failed, 2026-11-25 03:30 UTC (it was cut off); there is no good one yet; ${SEE}`,
    ],
    [
      "a failed one without words",
      { result: "failed" },
      `the last backup failed, at a time that is not known (no reason was given); there is no good one yet; ${SEE}`,
    ],
    [
      "one that was killed",
      { unit: "failed", result: "begun", time: "20261126T033000Z", last_ok: STAMP },
      `the last backup, begun 2026-11-26 03:30 UTC, did not come to its end: it was killed, or the machine lost its power; the last good one is of 2026-11-25 03:30 UTC; ${SEE}`,
    ],
    [
      "a first one in which the machine lost its power",
      { unit: "inactive", result: "begun", time: STAMP },
      `the last backup, begun 2026-11-25 03:30 UTC, did not come to its end: it was killed, or the machine lost its power; there is no good one yet; ${SEE}`,
    ],
    [
      "one that is too old, while another is on its way",
      { now: MADE + 50 * HOUR, unit: "activating", result: "begun", last_ok: STAMP },
      `the last backup is 50 hours old, and backup.warnAfterHours is 50; ${SEE}`,
    ],
    [
      "one that is too old",
      { now: MADE + 50 * HOUR, result: "ok", last_ok: STAMP },
      `the last backup is 50 hours old, and backup.warnAfterHours is 50; ${SEE}`,
    ],
    [
      "none in time",
      { now: MADE + 60 * HOUR },
      `no backup was made since they were set up 61 hours ago, and backup.warnAfterHours is 50; ${SEE}`,
    ],
    [
      "what nobody can read",
      { result: "ok", last_ok: "yesterday" },
      `what the machine says of its last backup could not be read; ${SEE}`,
    ],
  ])("warns of %s", (_what, lines, sentence) => {
    expect(judge(answer(lines), 50)).toBe(sentence);
  });
});

describe("a machine that cannot be asked", () => {
  const login = { address: "127.0.0.1", user: "root", hostKey: "ssh-ed25519 AAAA" };
  const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith("matrix-homeserver-"));

  it("is a warning when nothing listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const before = leftovers();
    expect(await lastBackupWarning({ ...login, port }, 50)).toMatch(
      /^the machine could not be asked about its last backup \(ssh: .*Connection refused\): look at \/etc\/matrix-homeserver\/last-backup there; /,
    );
    expect(leftovers()).toEqual(before);
  });

  it("is a warning in time when it says nothing, and no process stays", async () => {
    const server = createServer(() => undefined).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const started = Date.now();
    const warning = await lastBackupWarning({ ...login, port }, 50);
    server.close();
    expect(warning).toMatch(/^the machine could not be asked about its last backup \(/);
    expect(Date.now() - started).toBeLessThan(12_000);
    expect(spawnSync("pgrep", ["-f", `^ssh .* -p ${port} `]).stdout.toString()).toBe("");
  }, 20_000);
});
