import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BACKUP_UNIT } from "./Backup";
import { STATE } from "./Machine";

/** How the program's own ssh gets to a machine. */
export interface Login {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  /** The machine's public host key; no other machine is trusted in its place. */
  readonly hostKey: string;
  /** Default: the keys of the running ssh-agent. */
  readonly privateKeyFile?: string;
}

/** What is asked. The times are the machine's own, whose clock need not be this one's. */
const QUESTION = `date +now=%s; stat -c set_up=%Y /etc/systemd/system/${BACKUP_UNIT}.timer; echo unit=$(systemctl is-active ${BACKUP_UNIT}); cat ${STATE}/last-backup; true`;
const CONNECT_SECONDS = 5;
const LIMIT_MS = 8000;

/**
 * Asks the machine how its last backup went, by one login.
 *
 * @returns a whole sentence when there is something to be warned of. Never rejects: that it could not be asked is a warning, too
 */
export async function lastBackupWarning(login: Login, warnAfterHours: number): Promise<string | undefined> {
  try {
    return judge(await ask(login), warnAfterHours);
  } catch (error) {
    return `the machine could not be asked about its last backup (${reasonOf(error)}): look at ${STATE}/last-backup there; backup.warnAfterHours 0 turns the question off`;
  }
}

/** `answer` has lines such as `now=1764045000`, `result=ok`, `last_ok=20261125T033000Z`. Pure. */
export function judge(answer: string, warnAfterHours: number): string | undefined {
  const said = (name: string) => new RegExp(`^${name}=(.+)$`, "m").exec(answer)?.[1];
  const [now, setUp, good] = [Number(said("now")), said("set_up"), said("last_ok")];
  // Before the first update with backups there is nothing to be asked for.
  if (setUp === undefined) return undefined;
  const advice = `see 'systemctl status ${BACKUP_UNIT}' on the machine, and make one with 'systemctl start ${BACKUP_UNIT}'`;
  const last = good === undefined ? "there is no good one yet" : `the last good one is of ${inWords(good)}`;
  if (said("result") === "failed")
    return `the last backup failed, ${inWords(said("time") ?? "")} (${said("problem") ?? "no reason was given"}); ${last}; ${advice}`;
  // Of one that is on its way, nothing can be said yet.
  if (said("result") === "begun" && said("unit") !== "activating")
    return `the last backup, begun ${inWords(said("time") ?? "")}, did not come to its end: it was killed, or the machine lost its power; ${last}; ${advice}`;
  const hours = Math.floor((now - (good === undefined ? Number(setUp) : seconds(good))) / 3600);
  if (Number.isNaN(hours)) return `what the machine says of its last backup could not be read; ${advice}`;
  if (hours < warnAfterHours) return undefined;
  return good === undefined
    ? `no backup was made since they were set up ${hours} hours ago, and backup.warnAfterHours is ${warnAfterHours}; ${advice}`
    : `the last backup is ${hours} hours old, and backup.warnAfterHours is ${warnAfterHours}; ${advice}`;
}

async function ask({ address, port, user, hostKey, privateKeyFile }: Login): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "matrix-homeserver-"));
  const knownHosts = join(folder, "known_hosts");
  await writeFile(knownHosts, `machine ${hostKey}\n`);
  const options = [
    ...["BatchMode=yes", "HostKeyAlias=machine", "StrictHostKeyChecking=yes", "LogLevel=ERROR"],
    ...[`UserKnownHostsFile="${knownHosts}"`, "GlobalKnownHostsFile=/dev/null"],
    // A connection of its own, which nothing outlives.
    ...["ControlMaster=no", "ControlPath=none", "ControlPersist=no"],
    ...[`ConnectTimeout=${CONNECT_SECONDS}`, "ServerAliveInterval=2", "ServerAliveCountMax=2"],
    ...(privateKeyFile === undefined ? [] : ["IdentitiesOnly=yes"]),
  ].flatMap((option) => ["-o", option]);
  const key = privateKeyFile === undefined ? [] : ["-i", privateKeyFile];
  const running = promisify(execFile)(
    "ssh",
    [...options, ...key, "-T", "-n", "-p", String(port), "-l", user, address, QUESTION],
    { timeout: LIMIT_MS, killSignal: "SIGKILL" },
  );
  const end = () => {
    running.child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  // Also when the program comes to another end than expected.
  process.once("exit", end);
  try {
    return (await running).stdout;
  } finally {
    process.off("exit", end);
    end();
  }
}

function reasonOf(error: unknown): string {
  const { code, killed, stderr } = error as { code?: unknown; killed?: boolean; stderr?: string };
  if (code === "ENOENT") return "there is no ssh on this machine";
  if (killed === true) return `no answer within ${LIMIT_MS / 1000} s`;
  const last = (stderr ?? "").trim().split("\n").at(-1)?.trim() ?? "";
  return last === "" ? String(error) : last;
}

const STAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** `20261125T033000Z` in seconds since 1970; NaN for anything else. */
function seconds(stamp: string): number {
  return Date.parse(stamp.replace(STAMP, "$1-$2-$3T$4:$5:$6Z")) / 1000;
}

function inWords(stamp: string): string {
  return STAMP.test(stamp) ? stamp.replace(STAMP, "$1-$2-$3 $4:$5 UTC") : "at a time that is not known";
}
