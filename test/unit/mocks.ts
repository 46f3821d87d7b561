/*
 * Pulumi without an engine: what a program registers, exactly as the engine would get it (the requests to its monitor are
 * listened to, because Pulumi's own mocks show neither parents, dependencies, options nor outputs). Outputs are made up the
 * way the real providers make them: generated passwords are secret, a command's stdout is not.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type {
  RegisterResourceOutputsRequest,
  RegisterResourceRequest,
  ReadResourceRequest,
} from "@pulumi/pulumi/proto/resource_pb";

import type { HostFacts } from "../../components/Host";
import type { Machine } from "../../components/Machine";

export const SCRIPTS = resolve(__dirname, "../../scripts");

export const COMMAND = "command:remote:Command";
export const PASSWORD = "random:index/randomPassword:RandomPassword";
export const STACK = "pulumi:pulumi:Stack";

/** A value that the engine keeps encrypted. */
export class Secret {
  constructor(readonly value: unknown) {}
}

/** A value that is not known before the update. */
export const UNKNOWN = "<unknown>";

/** What the machine says of itself. */
export const FACTS: HostFacts = {
  os: "almalinux",
  release: "8.10",
  architecture: "x86_64",
  selinux: true,
  python: "python3.12",
  pythonPackage: "python3.12",
  postgresqlStream: "16",
  nginxStream: "1.24",
  ipv6: true,
};

/** What its repositories are asked for. */
const CANDIDATES = {
  pythons: "python3.12=python3.12 python3.11=python3.11",
  postgresqlStreams: "16 15",
  nginxStreams: "1.24 1.22",
  vaultOnly: false,
};

/** The text that a generated password has here. */
export const generated = (name: string) => `generated-${name}`;

/** A resource as it was registered. */
export interface Registered {
  readonly name: string;
  readonly type: string;
  readonly custom: boolean;
  /** Name of the parent. */
  readonly parent: string;
  /** Names of all that it waits for: those in dependsOn (a component stands for its children), and those in inputs. Sorted. */
  readonly dependsOn: readonly string[];
  readonly inputs: Readonly<Record<string, unknown>>;
  /** Options that are not the default, by the engine's names. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What a component registered as its outputs; undefined when it never did. */
  outputs?: Readonly<Record<string, unknown>>;
}

/** All that a program registered, in order. */
export class Deployment {
  constructor(
    readonly resources: readonly Registered[],
    /** Calls of provider functions. */
    readonly calls: readonly pulumi.runtime.MockCallArgs[],
  ) {}

  get(name: string): Registered {
    const found = this.resources.filter((resource) => resource.name === name);
    const [resource] = found;
    if (resource === undefined || found.length > 1) throw new Error(`${found.length} resources are named ${name}`);
    return resource;
  }

  get commands(): Registered[] {
    return this.resources.filter(({ type }) => type === COMMAND);
  }
}

export interface DeployOptions {
  /** `pulumi preview` of a stack that does not exist yet: what only an update tells is unknown. Default: false. */
  readonly preview?: boolean;
  /** Outputs of the stack when it was deployed last. Default: it never was. */
  readonly lastOutputs?: Readonly<Record<string, unknown>>;
}

/** The parts of the engine's monitor that are listened to. */
interface Monitor {
  registerResource(request: RegisterResourceRequest, callback: unknown): unknown;
  registerResourceOutputs(request: RegisterResourceOutputsRequest, callback: unknown): unknown;
  readResource(request: ReadResourceRequest, callback: unknown): unknown;
}

/** Runs a program to its end. Rejects with what it throws. */
export async function deploy(
  program: () => unknown,
  { preview = false, lastOutputs = {} }: DeployOptions = {},
): Promise<Deployment> {
  const resources: Registered[] = [];
  const calls: pulumi.runtime.MockCallArgs[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs }) => ({
        id: preview ? undefined : `${name}-id`,
        state: { ...(inputs as object), ...made(type, name, preview, lastOutputs) },
      }),
      call: (args) => {
        calls.push(args);
        return { ...(args.inputs as object), id: "1", rendered: "user-data" };
      },
    },
    "matrix-homeserver",
    "test",
    preview,
    "organization",
  );
  listen(pulumi.runtime.getMonitor() as unknown as Monitor, resources);
  // A rejection inside would reject promises of Pulumi's own as well, which nobody handles.
  let failure: { readonly reason: unknown } | undefined;
  await pulumi.runtime.runInPulumiStack(async () => {
    try {
      return (await program()) as Record<string, unknown> | undefined;
    } catch (reason) {
      failure = { reason };
      return undefined;
    }
  });
  await pulumi.runtime.disconnect();
  if (failure !== undefined) throw failure.reason;
  return new Deployment(resources, calls);
}

/** A machine that was found fit by the command "ready". */
export function fakeMachine(asRoot = ""): Machine {
  const connection = pulumi.secret({ host: "192.0.2.1", privateKey: "the private key" });
  return { connection, asRoot, ready: new remote.Command("ready", { connection, create: "true" }) };
}

/** An input as text, also when it is secret. */
export function plain(value: unknown): string {
  const text = value instanceof Secret ? value.value : value;
  if (typeof text !== "string") throw new Error(`no text: ${JSON.stringify(text)}`);
  return text;
}

/** Every text that the engine would show or keep unencrypted, however deep, keys included. */
export function openTexts(value: unknown): string[] {
  if (value instanceof Secret) return [];
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(openTexts);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...openTexts(inner)]);
}

function made(
  type: string,
  name: string,
  preview: boolean,
  lastOutputs: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (type === "pulumi:pulumi:StackReference") return { outputs: lastOutputs, secretOutputNames: ["adminPassword"] };
  if (preview) return {};
  if (type === PASSWORD) return { result: pulumi.secret(generated(name)) };
  if (type !== COMMAND) return {};
  if (name.endsWith("-facts")) return { stdout: JSON.stringify({ ...FACTS, ...CANDIDATES }), stderr: "" };
  if (name.endsWith("-repositories")) return { stdout: JSON.stringify(FACTS), stderr: "" };
  return { stdout: name.endsWith("-selfsigned") ? "the authority's certificate" : "", stderr: "" };
}

function listen(monitor: Monitor, resources: Registered[]): void {
  const register = monitor.registerResource.bind(monitor);
  const registerOutputs = monitor.registerResourceOutputs.bind(monitor);
  const read = monitor.readResource.bind(monitor);
  monitor.registerResource = (request, callback) => {
    resources.push({
      name: request.getName(),
      type: request.getType(),
      custom: request.getCustom(),
      parent: nameOf(request.getParent()),
      dependsOn: request.getDependenciesList().map(nameOf).sort(),
      inputs: toRecord(request.getObject()?.toJavaScript()),
      options: optionsOf(request),
    });
    return register(request, callback);
  };
  monitor.registerResourceOutputs = (request, callback) => {
    const resource = resources.find(({ name, custom }) => name === nameOf(request.getUrn()) && !custom);
    if (resource) resource.outputs = toRecord(request.getOutputs()?.toJavaScript());
    return registerOutputs(request, callback);
  };
  monitor.readResource = (request, callback) => {
    resources.push({
      name: request.getName(),
      type: request.getType(),
      custom: true,
      parent: nameOf(request.getParent()),
      dependsOn: request.getDependenciesList().map(nameOf).sort(),
      inputs: toRecord(request.getProperties()?.toJavaScript()),
      options: {},
    });
    return read(request, callback);
  };
}

function optionsOf(request: RegisterResourceRequest): Record<string, unknown> {
  const options = {
    protect: request.getProtect(),
    retainOnDelete: request.getRetainondelete(),
    deleteBeforeReplace: request.getDeletebeforereplace(),
    deletedWith: nameOf(request.getDeletedwith()),
    ignoreChanges: request.getIgnorechangesList(),
    aliases: request.getAliasesList().map((alias) => alias.toObject()),
    additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
  };
  return Object.fromEntries(
    Object.entries(options).filter(
      ([, value]) => value !== undefined && value !== false && value !== "" && !(Array.isArray(value) && !value.length),
    ),
  );
}

function nameOf(urn: string): string {
  return urn.split("::").at(-1) ?? "";
}

function toRecord(value: unknown): Record<string, unknown> {
  return decode(value ?? {}) as Record<string, unknown>;
}

/** The engine's wire format, read. */
function decode(value: unknown): unknown {
  if (value === pulumi.runtime.unknownValue) return UNKNOWN;
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object" || value === null) return value;
  if (pulumi.runtime.isRpcSecret(value)) return new Secret(decode((value as { value: unknown }).value));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decode(inner)]));
}

export function readScriptFile(file: string): string {
  return readFileSync(join(SCRIPTS, file), "utf8");
}

/** What scripts/ are told of in their heads: `: "${NAME?…}"`, or `:?` for what must not be empty. */
export interface DeclaredVariable {
  readonly name: string;
  readonly mayBeEmpty: boolean;
}

export function declaredVariables(script: string): DeclaredVariable[] {
  const heads = script.split("\n").filter((line) => line.startsWith(': "${'));
  return heads.flatMap((line) =>
    [...line.matchAll(/"\$\{([A-Z_]+)(:?)\?[^}]*\}"/g)].map(([, name = "", colon]) => ({
      name,
      mayBeEmpty: colon === "",
    })),
  );
}

/** What is wrong with what a call tells its script: nothing, where it is exactly what the script's head asks for. */
export function mistold({ file, variables }: ScriptCall): string[] {
  const declared = declaredVariables(readScriptFile(file));
  const asked = new Map(declared.map((variable) => [variable.name, variable]));
  return [
    ...Object.keys(variables).flatMap((name) => (asked.has(name) ? [] : `${file} does not ask for ${name}`)),
    ...[...asked].flatMap(([name, { mayBeEmpty }]) => {
      if (variables[name] === undefined) return `${file} is not told ${name}`;
      return variables[name] === "" && !mayBeEmpty ? `${file} is told an empty ${name}` : [];
    }),
  ];
}

/** A script that a resource runs: when it is made or changed, and when it is removed. */
export interface ScriptCall {
  readonly file: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** The call in a program text; undefined where the text is none of scripts/. Throws on one that is unknown. */
export function scriptCall(program: string): ScriptCall | undefined {
  if (!program.includes("\nmain() {\n")) return undefined;
  const file = readdirSync(SCRIPTS).find(
    (name) =>
      (name !== "lib.sh" && program.endsWith(`\n${withoutShebang(readScriptFile(name))}}\nmain </dev/null\n`)) ||
      program.endsWith(`\n${withoutShebang(readScriptFile(name))}}\nmain "$@" </dev/null\n`),
  );
  if (file === undefined) throw new Error("this program text ends in none of scripts/");
  return { file, variables: readPrelude(program) };
}

/** The calls that a resource makes, its removal's included. */
export function scriptCalls({ inputs }: Pick<Registered, "inputs">): ScriptCall[] {
  const undo = inputs.delete === undefined ? undefined : wordsOf(plain(inputs.delete)).at(-1);
  return [inputs.stdin === undefined ? undefined : plain(inputs.stdin), undo].flatMap(
    (text) => scriptCall(text ?? "") ?? [],
  );
}

/** A resource in one line: what it does, with which inputs secret, after what, and how it is undone. */
export function lineOf({ type, inputs, dependsOn }: Registered): string {
  const secret = Object.keys(inputs).filter((key) => key !== "connection" && inputs[key] instanceof Secret);
  if (type.startsWith("matrix-homeserver:")) return type.replace("matrix-homeserver:index:", "");
  if (type !== COMMAND && type !== PASSWORD) return "";
  return [
    type === PASSWORD ? `password of ${String(inputs.length)}` : actionOf(inputs),
    ...(secret.length > 0 ? [`secret ${secret.join(", ")}`] : []),
    ...(dependsOn.length > 0 ? [`after ${dependsOn.join(", ")}`] : []),
    ...(inputs.delete === undefined ? [] : [`undone by ${undoOf(inputs.delete)}`]),
  ].join("; ");
}

function actionOf({ create, stdin }: Registered["inputs"]): string {
  const words = wordsOf(plain(create));
  if (words.includes("-s")) return plain(stdin) === UNKNOWN ? "a script" : (scriptCall(plain(stdin))?.file ?? "?");
  const [owner, mode, path, ...checks] = words.slice(words.findIndex((word) => word.endsWith("/install-file")) + 1);
  return [`file ${path ?? "?"} ${owner ?? "?"} ${mode ?? "?"}`, ...checks.map((check) => `check '${check}'`)].join(" ");
}

function undoOf(command: unknown): string {
  return scriptCall(wordsOf(plain(command)).at(-1) ?? "")?.file ?? plain(command);
}

/** A command line's words. */
export function wordsOf(command: string): string[] {
  return (command.match(/(?:[^' \\]|\\'|'[^']*')+/g) ?? []).map(unquote);
}

function unquote(word: string): string {
  return word.replaceAll(/'([^']*)'|\\'/g, (match, inner?: string) => inner ?? match.slice(1));
}

function withoutShebang(script: string): string {
  return script.replace(/^#!.*\n/, "");
}

/** The `NAME=word` lines that a program text begins with. */
function readPrelude(program: string): Record<string, string> {
  const variables: Record<string, string> = {};
  const start = program.startsWith("#!") ? program.indexOf("\n") + 1 : 0;
  const assignment = /([A-Z_]+)=((?:[^'\n\\]|\\'|'[^']*')*)\n/y;
  assignment.lastIndex = start;
  while (!program.startsWith("\n", assignment.lastIndex)) {
    const [, name, word = ""] = assignment.exec(program) ?? [];
    if (name === undefined) throw new Error("the program text does not begin with assignments");
    variables[name] = unquote(word);
  }
  return variables;
}
