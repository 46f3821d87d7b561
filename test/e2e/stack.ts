import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";

import { REPOSITORY } from "./host";
import { ending, run, type Outcome, type RunOptions } from "./process";

/** What an update did, or a preview says that one would do. */
export interface Update {
  /** Names of the resources that are not as they were before, each with what became of it: create, update, replace, delete. */
  readonly changes: Readonly<Record<string, string>>;
  /** How long it took, start of the program to its end. */
  readonly seconds: number;
  /** What a user would have read: a line a message, in order. */
  readonly messages: string;
}

/** An update that failed. The message has all that Pulumi said. */
export class UpdateError extends Error {
  override readonly name = "UpdateError";

  constructor(
    command: string,
    /** What was done, up to the failure. */
    readonly update: Update,
  ) {
    super(`pulumi ${command} failed:\n${ending(update.messages)}`);
  }
}

/** A resource as the state has it. */
export interface StateResource {
  readonly name: string;
  readonly type: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, unknown>>;
}

/** A folder with a Pulumi.yaml, and the name in it. */
export interface Program {
  readonly folder: string;
  readonly project: string;
}

const UPDATE_SECONDS = 300;
const HOMESERVER: Program = { folder: REPOSITORY, project: "matrix-homeserver" };

const metadata = z.object({ metadata: z.object({ op: z.string(), urn: z.string() }) });
const engineEvent = z.object({
  resourcePreEvent: metadata.optional(),
  /** A resource that is done. */
  resOutputsEvent: metadata.optional(),
  diagnosticEvent: z
    .object({
      severity: z.string(),
      message: z.string(),
      prefix: z.string().optional(),
      urn: z.string().optional(),
      ephemeral: z.boolean().optional(),
    })
    .optional(),
});
/** What the engine tells while it works. */
export type EngineEvent = z.infer<typeof engineEvent>;
const stateResource = z.object({
  urn: z.string(),
  type: z.string(),
  inputs: z.record(z.string(), z.unknown()).default({}),
  outputs: z.record(z.string(), z.unknown()).default({}),
});
const exported = z.object({
  deployment: z.object({
    resources: z.array(stateResource).optional(),
    pending_operations: z.array(z.unknown()).default([]),
  }),
});

/**
 * A stack of the program under test, or of another one, run by the real `pulumi`. Its state and its configuration lie in a folder of its own, so
 * that stacks run side by side and nothing lands in the repository.
 */
export class Stack {
  /**
   * Everything that `pulumi` told a user so far, but for what was asked with secrets: what goes wrong, what changes, and the
   * programs' words, those for debugging included.
   */
  transcript = "";

  private constructor(
    readonly name: string,
    /** Its state, its configuration. */
    readonly folder: string,
    private readonly env: NodeJS.ProcessEnv,
    private readonly program: Program,
  ) {}

  static async create(name: string, program = HOMESERVER): Promise<Stack> {
    const folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), `${name}-`));
    await mkdir(join(folder, "state"));
    const env = {
      ...(await labEnvironment()),
      PULUMI_BACKEND_URL: `file://${folder}/state?metadata=skip`,
      // The programs that Pulumi starts leave things there when they are killed.
      TMPDIR: folder,
      // A preview tells the same events as an update then.
      PULUMI_ENABLE_STREAMING_JSON_PREVIEW: "true",
    };
    const stack = new Stack(name, folder, env, program);
    // `stack init` has no --config-file: it writes beside a Pulumi.yaml, so it gets one of the same project.
    await writeFile(join(folder, "Pulumi.yaml"), `name: ${program.project}\nruntime: nodejs\n`);
    await stack.succeed(["stack", "init", name, "--no-select", "--cwd", folder]);
    return stack;
  }

  private get configFile(): string {
    return join(this.folder, `Pulumi.${this.name}.yaml`);
  }

  /** Forgets the stack; what it deployed stays. */
  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** `pulumi config set --path` for each. */
  async set(settings: Readonly<Record<string, string | number | boolean>>): Promise<void> {
    const words = Object.entries(settings).flatMap(([path, value]) => ["--plaintext", `${path}=${String(value)}`]);
    await this.succeed(["config", "set-all", "--path", ...words, ...this.options()]);
  }

  /** The value goes by standard input, as an operator should do it. */
  async setSecret(path: string, value: string): Promise<void> {
    await this.succeed(["config", "set", "--secret", "--path", path, ...this.options()], value);
  }

  async unset(path: string): Promise<void> {
    await this.succeed(["config", "rm", "--path", path, ...this.options()]);
  }

  async up(): Promise<Update> {
    return await this.update(["up", "--yes", "--skip-preview"]);
  }

  /** An update that is ended from outside once `when` is true of an event. Whether it came to that, and what it had done by then. */
  async upInterrupted(
    signal: "SIGINT" | "SIGKILL",
    when: (event: EngineEvent) => boolean,
  ): Promise<{ interrupted: boolean; update: Update }> {
    let interrupted = false;
    const wasInterrupted = () => interrupted;
    const interrupt = (line: string) => {
      if (interrupted || !line.startsWith("{") || !when(engineEvent.parse(JSON.parse(line)))) return undefined;
      interrupted = true;
      return signal;
    };
    try {
      return { update: await this.update(["up", "--yes", "--skip-preview"], interrupt), interrupted: wasInterrupted() };
    } catch (error) {
      if (wasInterrupted() && error instanceof UpdateError) return { update: error.update, interrupted: true };
      throw error;
    }
  }

  /** What an operator runs after an update that was killed. */
  async cancel(): Promise<void> {
    await this.succeed(["cancel", "--yes", "--stack", this.name]);
  }

  /** What an operator runs when Pulumi warns of pending operations. */
  async clearPending(): Promise<void> {
    await this.update(["refresh", "--clear-pending-creates", "--yes", "--skip-preview"]);
  }

  /** How many operations the state has of which Pulumi does not know what became. */
  async pending(): Promise<number> {
    return exported.parse(JSON.parse(await this.exportText())).deployment.pending_operations.length;
  }

  async preview(): Promise<Update> {
    return await this.update(["preview"]);
  }

  async destroy(): Promise<Update> {
    return await this.update(["destroy", "--yes", "--skip-preview"]);
  }

  /** Runs a program in tools/ as an operator of this stack would. */
  async tool(file: string, env: Readonly<Record<string, string>>): Promise<Outcome> {
    return await run("bash", [`tools/${file}`], {
      cwd: REPOSITORY,
      env: { ...this.env, STACK: this.name, CONFIG_FILE: this.configFile, ...env },
      timeoutSeconds: UPDATE_SECONDS,
    });
  }

  /** The outputs, secrets included. */
  async outputs(): Promise<unknown> {
    const args = ["stack", "output", "--json", "--show-secrets", "--stack", this.name];
    const { stdout } = await this.quietly(args);
    return JSON.parse(stdout);
  }

  /** The state as `pulumi stack export` prints it, with secrets hidden. */
  async exportText(): Promise<string> {
    const { stdout } = await this.quietly(["stack", "export", "--stack", this.name]);
    return stdout;
  }

  /** The resources in the state, in an order in which they can be made, with secrets in plain text. */
  async exportState(): Promise<StateResource[]> {
    const { stdout } = await this.quietly(["stack", "export", "--show-secrets", "--stack", this.name]);
    const { deployment } = exported.parse(JSON.parse(stdout));
    return (deployment.resources ?? []).map(({ urn, type, inputs, outputs }) => ({
      name: nameOf(urn),
      type,
      inputs: plain(inputs) as Record<string, unknown>,
      outputs: plain(outputs) as Record<string, unknown>,
    }));
  }

  private options(): string[] {
    return ["--stack", this.name, "--config-file", this.configFile];
  }

  private async update(command: string[], interrupt?: RunOptions["interrupt"]): Promise<Update> {
    const started = Date.now();
    const { stdout, ...ended } = await this.pulumi(
      [...command, "--json", ...this.options()],
      UPDATE_SECONDS,
      "",
      interrupt,
    );
    // What is killed may leave half a line.
    const outcome = { ...ended, stdout: interrupt ? stdout.slice(0, stdout.lastIndexOf("\n") + 1) : stdout };
    this.transcript += [outcome.stdout, outcome.stderr].join("\n");
    const update = { ...readEvents(outcome), seconds: (Date.now() - started) / 1000 };
    if (outcome.code !== 0) throw new UpdateError(command.join(" "), update);
    return update;
  }

  private async succeed(args: string[], input = ""): Promise<void> {
    const { stdout, stderr } = await this.quietly(args, input);
    this.transcript += stdout + stderr;
  }

  private async quietly(args: string[], input = ""): Promise<Outcome> {
    const outcome = await this.pulumi(args, 60, input);
    if (outcome.code !== 0) throw new Error(`pulumi ${args.join(" ")} failed:\n${ending(outcome.stderr)}`);
    return outcome;
  }

  private async pulumi(
    args: string[],
    timeoutSeconds: number,
    input = "",
    interrupt?: RunOptions["interrupt"],
  ): Promise<Outcome> {
    return await run("pulumi", [...args, "--non-interactive", "--color", "never"], {
      cwd: this.program.folder,
      env: this.env,
      input,
      timeoutSeconds,
      ...(interrupt && { interrupt }),
    });
  }
}

/** What an update said that failed, as it should have. */
export async function failureOf(update: Promise<unknown>): Promise<string> {
  const error = await update.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof UpdateError)) throw new Error("the update did not fail as expected", { cause: error });
  return error.update.messages;
}

/** Names of the changed resources, sorted. */
export function changed(update: Update): string[] {
  return Object.keys(update.changes).sort();
}

/** The environment of a shell after `. lab/env`. */
async function labEnvironment(): Promise<NodeJS.ProcessEnv> {
  const { code, stdout, stderr } = await run("bash", ["-c", ". lab/env && exec env -0"], {
    cwd: REPOSITORY,
    timeoutSeconds: 30,
  });
  if (code !== 0) throw new Error(stderr.trim());
  return Object.fromEntries(
    stdout
      .split("\0")
      .filter(Boolean)
      .map((entry) => {
        const equals = entry.indexOf("=");
        return [entry.slice(0, equals), entry.slice(equals + 1)];
      }),
  );
}

function readEvents({ stdout, stderr }: Outcome): Pick<Update, "changes" | "messages"> {
  const changes: Record<string, string> = {};
  const messages: string[] = [];
  for (const line of stdout.split("\n").filter(Boolean)) {
    // What goes wrong before the engine runs is told in plain text.
    if (!line.startsWith("{")) {
      messages.push(line);
      continue;
    }
    const { resourcePreEvent, diagnosticEvent } = engineEvent.parse(JSON.parse(line));
    if (resourcePreEvent) {
      const { op, urn } = resourcePreEvent.metadata;
      // A replacement is told in several steps.
      if (op !== "same" && op !== "read") changes[nameOf(urn)] = op.includes("replace") ? "replace" : op;
    }
    // What is ephemeral is only shown while a command runs; what it was worth is in its error.
    if (diagnosticEvent && diagnosticEvent.severity !== "debug" && diagnosticEvent.ephemeral !== true) {
      const { urn, prefix = "", message } = diagnosticEvent;
      messages.push(`${urn === undefined ? "" : `${nameOf(urn)}: `}${prefix}${message.trimEnd()}`);
    }
  }
  return { changes, messages: [...messages, stderr].join("\n") };
}

/** A resource's name in its URN. */
export function nameOf(urn: string): string {
  return urn.slice(urn.lastIndexOf("::") + 2);
}

/** A value of the state with every secret in it opened. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if ("4dabf18193072939515e22adb298388d" in value && "plaintext" in value) {
    return plain(JSON.parse(String(value.plaintext)));
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
