import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

/** How a program ended. */
export interface Outcome {
  /** Exit code; 128 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a program is run with. */
export interface RunOptions {
  /** Standard input. Default: empty. */
  readonly input?: string;
  /** Default: this process's. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Is told every line of standard output as it comes; the signal that it returns is sent to the program, and SIGKILL to all that it started, too. */
  readonly interrupt?: (line: string) => "SIGINT" | "SIGKILL" | undefined;
  /** After how many seconds it is ended, and the run rejects. */
  readonly timeoutSeconds: number;
}

// Pulumi cancels an update on SIGINT and saves its state; what does not end then is killed.
const GRACE_MS = 15_000;

/** Runs a program to its end. Rejects when it cannot be started or does not end in time, not when it fails. */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<Outcome> {
  const { input = "", timeoutSeconds, interrupt, ...rest } = options;
  const child = spawn(program, args, { ...rest, stdio: "pipe" });
  const timers = [
    setTimeout(() => child.kill("SIGINT"), timeoutSeconds * 1000),
    setTimeout(() => child.kill("SIGKILL"), timeoutSeconds * 1000 + GRACE_MS),
  ];
  // A program that ends without reading its input is no error of ours.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  if (interrupt) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const signal = interrupt(line);
      if (signal === "SIGKILL") killTree(child.pid);
      else if (signal) child.kill(signal);
    });
  }
  try {
    const [code, stdout, stderr] = await Promise.all([
      new Promise<number>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (status) => {
          resolve(status ?? 128);
        });
      }),
      text(child.stdout),
      text(child.stderr),
    ]);
    if (child.killed && !interrupt)
      throw new Error(`${program} did not end within ${timeoutSeconds} s; it said:\n${ending(stdout + stderr)}`);
    return { code, stdout, stderr };
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Ends a program and all that it started at once, as when the machine that it runs on is switched off. */
function killTree(pid: number | undefined): void {
  if (pid === undefined) return;
  for (const member of treeOf(pid)) {
    try {
      process.kill(member, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

/** A process, all that it started, and what those started. */
export function treeOf(pid: number): number[] {
  const all = processes();
  const tree = [pid];
  // It grows while it is walked.
  for (const member of tree) tree.push(...all.filter(({ parent }) => parent === member).map((child) => child.pid));
  return tree;
}

function processes(): { pid: number; parent: number }[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        // Behind the name, which may have anything in it: state, parent.
        const [, parent] = readFileSync(`/proc/${entry}/stat`, "utf8")
          .replace(/^[^]*\) /, "")
          .split(" ");
        return [{ pid: Number(entry), parent: Number(parent) }];
      } catch {
        return [];
      }
    });
}

/** The last lines of a long text. */
export function ending(output: string, lines = 60): string {
  const all = output.trimEnd().split("\n");
  return all.length > lines ? ["…", ...all.slice(-lines)].join("\n") : all.join("\n");
}
