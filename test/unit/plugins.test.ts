/*
 * Conformance of the lab's own provider plugins: every call that was recorded from the official ones, for the types and
 * functions that the program uses, is made again to ours, which are bundled, started and spoken to as the engine does, and the
 * answers are compared. The SSH side is a server in this process that runs the commands with bash in an empty directory.
 *
 * Left out (LEFT_OUT names what; a recorded call that is neither replayed nor named there fails the test):
 * - command:remote:CopyToRemote, the other types of `random` and the Config resource of `cloudinit`: the program does not use
 *   them, and our plugins refuse them.
 * - `acceptsByteString` in the answer to Handshake: the SDK's protocol does not know it; without it the engine sends plain text.
 * Compared by shape: new ids and random values (each is checked to be what its inputs ask for, the recorded one too), and the
 * compressed bytes of gzip, which depend on the library (what they expand to is compared).
 * Not proven here: previews, which were not recorded (see plugins.command.test.ts), and the official plugins' log lines.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { crc32, gunzipSync } from "node:zlib";
import { bcryptMatches } from "../../lab/plugins/bcrypt";
import {
  isObject,
  PluginProcess,
  temporaryDirectory,
  textOf,
  type Answer,
  type Json,
  type JsonObject,
} from "./plugins.harness";
import { closedPort, startSshServer, type SshServer } from "./plugins.sshd";

interface Recorded {
  readonly line: number;
  readonly method: string;
  readonly type: string;
  readonly request: JsonObject;
  readonly answer: Answer;
}

// A plugin is a process that has to start, on a machine that may have other work.
jest.setTimeout(30_000);

const LEFT_OUT = [
  "command:remote:CopyToRemote",
  "random:index/randomInteger:RandomInteger",
  "random:index/randomPet:RandomPet",
  "random:index/randomString:RandomString",
  "random:index/randomUuid:RandomUuid",
  "cloudinit:index/config:Config",
];

const SECRET_KIND = "1b47061264138c4ac30d75fd1eb44270";
const CUT_LENGTH = 200;

const directory = temporaryDirectory();
let server: SshServer;
let refusedPort: number;

beforeAll(async () => {
  server = await startSshServer({ directory: directory.path });
  refusedPort = await closedPort();
  // A recorded local command runs in a directory of this name.
  mkdirSync(join(directory.path, "tree"));
});

afterAll(async () => {
  await server.stop();
  directory.remove();
});

describe.each(["command", "random", "cloudinit"])("the %s plugin answers as the official one", (name) => {
  const recordings = readRecordings(name);
  const kinds = [...new Set(recordings.map(({ method, type }) => `${method} ${type}`.trim()))];
  let plugin: PluginProcess;

  beforeAll(async () => {
    plugin = await PluginProcess.start(PluginProcess.bundle(name, directory.path), directory.path);
  });

  afterAll(() => plugin.stop());

  it.each(kinds)("%s", async (kind) => {
    const calls = recordings.filter(({ method, type }) => `${method} ${type}`.trim() === kind);
    for (const { line, method, type, request, answer } of calls) {
      const actual = toRecorded(await plugin.call(method, toHere(request) as JsonObject));
      expect({ line, ...byShape(method, type, actual) }).toEqual({ line, ...byShape(method, type, answer) });
    }
  });
});

function readRecordings(name: string): Recorded[] {
  const lines = readFileSync(resolve(__dirname, `../recordings/${name}.jsonl`), "utf8")
    .trim()
    .split("\n");
  return lines
    .map((text, index) => {
      const { method, request, response, errors } = JSON.parse(text) as {
        method: string;
        request: JsonObject;
        response: JsonObject | null;
        errors?: string[];
      };
      const type = textOf(request.type ?? request.tok);
      if (method === "Handshake") delete response?.acceptsByteString;
      return { line: index + 1, method, type, request, answer: { response, ...(errors && { errors }) } };
    })
    .filter(({ type }) => !LEFT_OUT.includes(type));
}

/** A recorded request, with this test's server, key and directory in the place of the recorded ones. */
function toHere(value: Json): Json {
  return mapValues(
    value,
    (text) =>
      text
        .replaceAll("192.0.2.10", "127.0.0.1")
        .replaceAll("<private key>", server.clientKey)
        .replaceAll("/tmp/deleted", join(directory.path, "deleted")),
    (port) => ({ 22: server.port, 2222: refusedPort })[port] ?? port,
  );
}

/** An answer, with the recorded server, key and directory in the place of this test's. */
function toRecorded(answer: Answer): Answer {
  const text = (value: string) =>
    cut(
      value
        .replaceAll(`127.0.0.1:${refusedPort}`, "192.0.2.10:2222")
        .replaceAll("127.0.0.1", "192.0.2.10")
        .replaceAll(server.clientKey, "<private key>")
        .replaceAll(join(directory.path, "deleted"), "/tmp/deleted"),
    );
  const port = (value: number) => ({ [server.port]: 22, [refusedPort]: 2222 })[value] ?? value;
  return {
    response: answer.response === null ? null : (mapValues(answer.response, text, port) as JsonObject),
    ...(answer.errors && { errors: answer.errors.map(text) }),
  };
}

/** The recordings cut long outputs; a text that was cut already stays as it is. */
function cut(text: string): string {
  if (text.length < 10_000) return text;
  return `${text.slice(0, CUT_LENGTH)}<… ${text.length} characters in all>`;
}

function mapValues(value: Json, text: (text: string) => string, port: (port: number) => number): Json {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return value.map((item: Json) => mapValues(item, text, port));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === "port" && typeof inner === "number" ? port(inner) : mapValues(inner, text, port),
    ]),
  );
}

/** An answer without what differs from run to run, after a check that this is what it should be. */
function byShape(method: string, type: string, answer: Answer): Answer {
  const { response } = answer;
  if (response === null) return answer;
  if (method === "Create" && type.startsWith("command:")) {
    return {
      ...answer,
      response: { ...response, id: textOf(response.id).replace(/[0-9a-f]{8}$/, "<8 hexadecimal digits>") },
    };
  }
  if (method === "Create" && type.startsWith("random:")) return { ...answer, response: randomByShape(response) };
  if (method === "Invoke" && isObject(response.return) && response.return.gzip === true) {
    const rendered = textOf(response.return.rendered);
    expect(response.return.id).toBe(String(crc32(rendered)));
    const expanded = gunzipSync(Buffer.from(rendered, "base64")).toString();
    return {
      ...answer,
      response: { ...response, return: { ...response.return, rendered: expanded, id: "<checksum>" } },
    };
  }
  return answer;
}

function randomByShape(response: JsonObject): JsonObject {
  const properties = response.properties as JsonObject;
  const value = (key: string): string => {
    const property = properties[key];
    return textOf(isObject(property) ? property.value : property);
  };
  const bytesOf = (key: string, encoding: BufferEncoding) => Buffer.from(value(key), encoding).toString("hex");
  if ("result" in properties) {
    expectPassword(value("result"), properties);
    expect(bcryptMatches(value("result"), value("bcryptHash"))).toBe(true);
    return replaceValues(response, ["result", "bcryptHash"]);
  }
  if ("base64" in properties) {
    expect(value("hex")).toMatch(/^[0-9a-f]+$/);
    expect(value("hex")).toHaveLength(Number(properties.length) * 2);
    expect(bytesOf("base64", "base64")).toBe(value("hex"));
    expect(response.id).toBe(value("base64"));
    return { ...replaceValues(response, ["base64", "hex"]), id: "<base64>" };
  }
  const prefix = value("prefix");
  const bytes = Buffer.from(value("id"), "base64url");
  expect(bytes).toHaveLength(Number(properties.byteLength));
  expect(response.id).toBe(bytes.toString("base64url"));
  expect(value("b64Url")).toBe(prefix + bytes.toString("base64url"));
  expect(value("b64Std")).toBe(prefix + bytes.toString("base64"));
  expect(value("hex")).toBe(prefix + bytes.toString("hex"));
  expect(value("dec")).toBe(prefix + BigInt(`0x${bytes.toString("hex")}`).toString());
  return { ...replaceValues(response, ["id", "b64Url", "b64Std", "hex", "dec"]), id: "<id>" };
}

function expectPassword(password: string, inputs: JsonObject): void {
  const special = typeof inputs.overrideSpecial === "string" ? inputs.overrideSpecial : "!@#$%&*()-_=+[]{}<>:?";
  const kinds = [
    { allowed: inputs.lower, minimum: inputs.minLower, characters: "abcdefghijklmnopqrstuvwxyz" },
    { allowed: inputs.upper, minimum: inputs.minUpper, characters: "ABCDEFGHIJKLMNOPQRSTUVWXYZ" },
    { allowed: inputs.numeric, minimum: inputs.minNumeric, characters: "0123456789" },
    { allowed: inputs.special, minimum: inputs.minSpecial, characters: special },
  ];
  const counts = kinds.map(({ characters }) => password.split("").filter((char) => characters.includes(char)).length);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(inputs.length);
  kinds.forEach(({ allowed, minimum }, index) => {
    expect(counts[index]).toBeGreaterThanOrEqual(Number(minimum));
    if (allowed !== true) expect(counts[index]).toBe(0);
  });
}

/** Names in the place of values; whether they are secret is kept. */
function replaceValues(response: JsonObject, keys: string[]): JsonObject {
  const properties = { ...(response.properties as JsonObject) };
  for (const key of keys) {
    const secret = isObject(properties[key]) && Object.values(properties[key]).includes(SECRET_KIND);
    properties[key] = `<${secret ? "secret " : ""}${key}>`;
  }
  return { ...response, properties };
}
