import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { detailedDiff } from "./diff";
import { Output, type Logging } from "./output";
import { serve, type Failure, type Operation, type Resource } from "./serve";
import { Session, withConnection, type Target } from "./ssh";
import { equal, hasUnknown, isObject, isSecret, reveal, secret, UNKNOWN, type Properties, type Value } from "./values";

const PREVIOUS_STDOUT = "PULUMI_COMMAND_STDOUT";
const PREVIOUS_STDERR = "PULUMI_COMMAND_STDERR";
const LOGGING = ["stdout", "stderr", "stdoutAndStderr", "none"];

/** Runs one command and keeps its output. `state` is revealed: it holds the inputs and, from an earlier run, `stdout` and `stderr`. */
type Runner = (command: string, state: Properties, output: Output, operation: Operation) => Promise<void>;

interface CommandType {
  readonly inputs: string[];
  readonly required: string[];
  /** The inputs that decide what a command prints, as the official plugin sees it. */
  readonly outputDependsOn: string[];
  normalize(inputs: Properties): Properties;
  readonly run: Runner;
}

const COMMON_INPUTS = [
  "addPreviousOutputInEnv",
  "create",
  "delete",
  "environment",
  "logging",
  "stdin",
  "triggers",
  "update",
];
const ENDPOINT_FIELDS = [
  ...["agentSocketPath", "dialErrorLimit", "host", "hostKey", "password", "perDialTimeout", "port", "privateKey"],
  ...["privateKeyPassword", "user"],
];
const SECRET_FIELDS = ["password", "privateKey", "privateKeyPassword"];
const ENDPOINT_DEFAULTS = { user: "root", port: 22, dialErrorLimit: 10, perDialTimeout: 15 };

const remoteCommand: CommandType = {
  inputs: [...COMMON_INPUTS, "connection"],
  required: ["connection"],
  outputDependsOn: ["create", "update"],
  normalize: (inputs) => {
    const connection = reveal(inputs.connection ?? null);
    // A connection that is not known yet is only known to be secret.
    if (!isObject(connection)) return { ...inputs, connection: secret(connection) };
    const normalized = normalizeEndpoint(connection);
    if (isObject(connection.proxy)) normalized.proxy = normalizeEndpoint(connection.proxy);
    return { ...inputs, connection: secret(normalized) };
  },
  run: runRemote,
};

const localCommand: CommandType = {
  inputs: [...COMMON_INPUTS, "dir", "interpreter"],
  required: [],
  outputDependsOn: [...COMMON_INPUTS, "dir", "interpreter"],
  normalize: (inputs) => inputs,
  run: runLocal,
};

function normalizeEndpoint(endpoint: Properties): Properties {
  const whole: Properties = { ...ENDPOINT_DEFAULTS, ...endpoint };
  for (const field of SECRET_FIELDS) {
    const value = whole[field];
    if (value !== undefined) whole[field] = secret(value);
  }
  return whole;
}

async function runRemote(command: string, state: Properties, output: Output, operation: Operation): Promise<void> {
  const dialing = {
    signal: operation.signal,
    onRetry: (message: string) => {
      operation.log("info", message, true);
    },
  };
  const target = state.connection as unknown as Target;
  await withConnection(target, dialing, async (client) => {
    const session = await Session.open(client);
    for (const [name, value] of Object.entries(environmentOf(state))) {
      if (await session.setEnvironment(name, value)) continue;
      operation.log("error", refusedVariable(name), false);
      throw new Error(`could not set environment variable ${quote(name)}: ssh: setenv failed`);
    }
    for (const [name, value] of Object.entries(previousOutput(state))) {
      if (!(await session.setEnvironment(name, value))) operation.log("warning", refusedVariable(name), false);
    }
    operation.signal.throwIfAborted();
    await reportFailure(command, output, session.run(command, text(state.stdin), output));
  });
}

function refusedVariable(name: string): string {
  return `The SSH server refuses the environment variable ${name}: name it in AcceptEnv there, or set it in the command itself`;
}

async function runLocal(command: string, state: Properties, output: Output, operation: Operation): Promise<void> {
  const [shell = "/bin/sh", ...options] = Array.isArray(state.interpreter)
    ? state.interpreter.map(text)
    : ["/bin/sh", "-c"];
  const child = spawn(shell, [...options, command], {
    env: { ...process.env, ...environmentOf(state), ...previousOutput(state) },
    ...(typeof state.dir === "string" && { cwd: state.dir }),
    signal: operation.signal,
    killSignal: "SIGKILL",
  });
  child.stdout.on("data", (chunk: Buffer) => {
    output.stdout(chunk);
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output.stderr(chunk);
  });
  // A command need not read what it is given.
  child.stdin.on("error", () => undefined);
  child.stdin.end(text(state.stdin));
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(code === null ? `signal: ${signal ?? "unknown"}` : `exit status ${code}`));
    });
  });
  await reportFailure(command, output, ended);
}

/** As the official plugin: the reason, the command and everything that it wrote. */
async function reportFailure(command: string, output: Output, running: Promise<void>): Promise<void> {
  try {
    await running;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${reason}: running ${quote(command)}:\n${output.everything}`, { cause: error });
  } finally {
    output.finish();
  }
}

function environmentOf(state: Properties): Record<string, string> {
  if (!isObject(state.environment)) return {};
  return Object.fromEntries(Object.entries(state.environment).map(([name, value]) => [name, text(value)]));
}

function previousOutput(state: Properties): Record<string, string> {
  if (state.addPreviousOutputInEnv === false) return {};
  return {
    ...(text(state.stdout) && { [PREVIOUS_STDOUT]: text(state.stdout) }),
    ...(text(state.stderr) && { [PREVIOUS_STDERR]: text(state.stderr) }),
  };
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

/** A string as the official plugin quotes it. */
function quote(value: string): string {
  return JSON.stringify(value).replace(/\\(\\|u00([0-9a-f]{2}))/g, (match, _escape, hex: string | undefined) =>
    hex === undefined ? match : `\\x${hex}`,
  );
}

function toResource(type: CommandType): Resource {
  const run = async (command: Value | undefined, inputs: Properties, previous: Properties, operation: Operation) => {
    if (command === undefined) return { stdout: previous.stdout ?? "", stderr: previous.stderr ?? "" };
    const state = reveal({ ...inputs, ...previous }) as Properties;
    const output = new Output(state.logging as Logging | undefined, operation.log);
    await type.run(text(reveal(command)), state, output, operation);
    return output.state;
  };
  const withOutput = (inputs: Properties, output: { stdout: Value; stderr: Value }): Properties => {
    const hidden = type.outputDependsOn.some((name) => isSecret(inputs[name]));
    const mark = (value: Value) => (hidden ? secret(value) : value);
    return { ...inputs, stdout: mark(output.stdout), stderr: mark(output.stderr) };
  };
  const unknownOutput = { stdout: UNKNOWN, stderr: UNKNOWN };
  const previousOf = (state: Properties) => ({ stdout: state.stdout ?? "", stderr: state.stderr ?? "" });

  return {
    check: (news) => {
      const failures = refuse(type, news);
      return failures.length > 0 ? { inputs: news, failures } : { inputs: type.normalize(news) };
    },
    diff: (_state, oldInputs, news) => {
      const detailed = detailedDiff(oldInputs, news);
      const names = new Set([...Object.keys(oldInputs), ...Object.keys(news)]);
      return { changed: [...names].filter((name) => !equal(oldInputs[name], news[name])), detailed };
    },
    create: async (inputs, operation) => {
      const id = operation.name + randomBytes(4).toString("hex");
      const output = operation.preview ? unknownOutput : await run(inputs.create, inputs, {}, operation);
      return { id, state: withOutput(inputs, output) };
    },
    read: (state) => state,
    update: async (state, oldInputs, news, operation) => {
      const previous = previousOf(state);
      if (!operation.preview) return withOutput(news, await run(news.update ?? news.create, news, previous, operation));
      const stale = type.outputDependsOn.some((name) => hasUnknown(news[name]) || !equal(oldInputs[name], news[name]));
      return withOutput(news, stale ? unknownOutput : previous);
    },
    delete: async (state, operation) => {
      await run(state.delete, state, previousOf(state), operation);
    },
  };
}

/** What is wrong with the inputs, never with their values in it: one of them may be a key. */
function refuse(type: CommandType, inputs: Properties): Failure[] {
  const missing = type.required.filter((name) => inputs[name] === undefined);
  const strange = Object.keys(inputs).filter((name) => !type.inputs.includes(name));
  const logging = reveal(inputs.logging ?? "none");
  const connection = reveal(inputs.connection ?? null);
  return [
    ...missing.map((property) => ({ property, reason: "is required" })),
    ...strange.map((property) => ({ property, reason: "the lab's own command plugin does not know this input" })),
    ...(logging === UNKNOWN || LOGGING.includes(text(logging))
      ? []
      : [{ property: "logging", reason: `must be one of ${LOGGING.join(", ")}` }]),
    ...(isObject(connection) ? refuseEndpoint("connection", connection, [...ENDPOINT_FIELDS, "proxy"]) : []),
    ...(isObject(connection) && isObject(connection.proxy)
      ? refuseEndpoint("connection.proxy", connection.proxy, ENDPOINT_FIELDS)
      : []),
  ];
}

function refuseEndpoint(path: string, endpoint: Properties, fields: string[]): Failure[] {
  const strange = Object.keys(endpoint).filter((name) => !fields.includes(name));
  return [
    ...(endpoint.host === undefined ? [{ property: `${path}.host`, reason: "is required" }] : []),
    ...strange.map((name) => ({ property: `${path}.${name}`, reason: "a connection has no such setting" })),
  ];
}

serve({
  name: "command",
  version: "1.2.1",
  handshake: { acceptSecrets: true, acceptResources: true, acceptOutputs: true },
  configure: { acceptSecrets: true, acceptOutputs: true },
  resources: {
    "command:remote:Command": toResource(remoteCommand),
    "command:local:Command": toResource(localCommand),
  },
  functions: {
    "command:local:run": async (args, operation) => {
      const state = reveal(args) as Properties;
      const output = new Output(state.logging as Logging | undefined, operation.log);
      await runLocal(text(state.command), state, output, operation);
      return { ...args, ...output.state };
    },
  },
});
