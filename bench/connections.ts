// how often a first deployment logs in over SSH, and how many connections are open at once
import { Deployment } from "../test/e2e/deployment";
import type { LabHost } from "../test/e2e/host";
import { main, printTable, publish } from "./lib";

/** What sshd was asked for, and how much of it at once. */
interface Connections {
  /** Connections that it accepted, and logins that succeeded on them. */
  readonly connections: number;
  readonly logins: number;
  /** Connections that were open at once. */
  readonly atOnce: number;
  /** Connections that had not logged in yet, at once: an unmodified sshd begins to drop some at 10 (`MaxStartups`). */
  readonly startingAtOnce: number;
  /** Times that sshd said it dropped connections or began to. */
  readonly throttled: number;
}

main(async () => {
  const deployment = await Deployment.prepare("connections");
  try {
    const { host, stack } = deployment;
    // sshd says at this level when a connection comes and goes; nothing else about it changes.
    await host.run(
      "echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/bench.conf; systemctl reload ssh || systemctl reload sshd",
    );
    const limit = await host.run("sshd -T | sed -n 's/^maxstartups //p'");
    const since = await host.run("date +%s.%N");
    await stack.up();
    const counted = count(await journalOf(host, since));
    await deployment.proveServing();
    const commands = (await stack.exportState()).filter(({ type }) => type === "command:remote:Command").length;
    if (counted.logins < commands) {
      throw new Error(`sshd's journal tells of ${counted.logins} logins, and there were ${commands} commands`);
    }
    printTable([
      ["a first deployment", ""],
      ["commands on the host", String(commands)],
      ["connections", String(counted.connections)],
      ["authenticated logins", String(counted.logins)],
      ["open at once, at most", String(counted.atOnce)],
      [`not yet logged in at once, at most (MaxStartups ${limit})`, String(counted.startingAtOnce)],
      ["times sshd throttled", String(counted.throttled)],
    ]);
    publish({
      what: "connections",
      unit: "logins",
      rounds: { "pulumi up": [counted.logins] },
      notes: { ...counted, commands, maxStartups: limit },
    });
    if (counted.throttled > 0) throw new Error("sshd throttled the deployment's connections");
  } finally {
    await deployment.remove();
  }
});

const LINE = /^(?<time>[\d.]+) \S+ sshd\[(?<pid>\d+)\]: (?<message>.*)$/;

/** What sshd said since then, a line each, as `journalctl -o short-unix` writes it. */
async function journalOf(host: LabHost, since: string): Promise<string[]> {
  const lines = await host.run(`journalctl --sync; journalctl -q -o short-unix -t sshd --since @${since}`);
  return lines.split("\n");
}

function count(lines: readonly string[]): Connections {
  const opened = new Map<string, number>();
  const loggedIn = new Map<string, number>();
  const ended = new Map<string, number>();
  let throttled = 0;
  for (const line of lines) {
    const { time = "", pid = "", message = "" } = LINE.exec(line)?.groups ?? {};
    if (message.startsWith("Connection from ")) opened.set(pid, Number(time));
    if (message.startsWith("Accepted ")) loggedIn.set(pid, Number(time));
    if (/session closed for user|^Connection (closed|reset) by/.test(message)) ended.set(pid, Number(time));
    if (/MaxStartups|^drop connection/.test(message)) throttled++;
  }
  // The one that asked for the journal had not ended.
  const pids = [...opened.keys()].filter((pid) => ended.has(pid));
  const span = (pid: string, end: ReadonlyMap<string, number>) => [opened.get(pid) ?? 0, end.get(pid) ?? 0] as const;
  return {
    connections: pids.length,
    logins: pids.filter((pid) => loggedIn.has(pid)).length,
    atOnce: mostAtOnce(pids.map((pid) => span(pid, ended))),
    startingAtOnce: mostAtOnce(pids.map((pid) => span(pid, loggedIn.has(pid) ? loggedIn : ended))),
    throttled,
  };
}

/** How many of these spans of time had begun and not ended at the worst moment. */
function mostAtOnce(spans: readonly (readonly [number, number])[]): number {
  return Math.max(0, ...spans.map(([moment]) => spans.filter(([from, to]) => from <= moment && moment < to).length));
}
