/*
 * What the recordings do not hold of the lab's own command plugin: the ways into a host, the environment, the log, previews,
 * cancellation, and that nothing is left running. The expected texts are those of the official plugin's documentation and
 * behaviour; where our own are checked, it is for what they must not say.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { utils } from "ssh2";
import { secret, UNKNOWN } from "../../lab/plugins/values";
import { isObject, PluginProcess, temporaryDirectory, textOf, type Answer, type JsonObject } from "./plugins.harness";
import { closedPort, silentPort, startSshServer, type SshServer } from "./plugins.sshd";

// A plugin is a process that has to start, on a machine that may have other work.
jest.setTimeout(30_000);

const URN = "urn:pulumi:dev::test::command:remote:Command::it";

const directory = temporaryDirectory();
let bundle: string;
let server: SshServer;
/** Starting one takes longer than most tests: they share it. */
let shared: PluginProcess;
let plugin: PluginProcess;

beforeAll(async () => {
  bundle = PluginProcess.bundle("command", directory.path);
  const acceptEnv = ["GREETING", "PULUMI_COMMAND_STDOUT"];
  server = await startSshServer({ directory: directory.path, acceptEnv, password: "right" });
  shared = await PluginProcess.start(bundle, directory.path);
});

const stops: (() => Promise<void>)[] = [];

/** Has something stopped after the test, whatever becomes of it. */
function stopAfterwards<T extends { stop: () => Promise<void> }>(started: T): T {
  stops.push(started.stop);
  return started;
}

beforeEach(() => {
  plugin = shared;
  plugin.logs.length = 0;
});

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

afterAll(async () => {
  await shared.stop();
  await server.stop();
  directory.remove();
});

const endpoint = (changes: JsonObject = {}): JsonObject => ({
  ...{ host: "127.0.0.1", port: server.port, user: "root", privateKey: server.clientKey },
  ...{ dialErrorLimit: 0, perDialTimeout: 5, ...changes },
});

const create = (inputs: JsonObject, connection: JsonObject = endpoint(), preview = false): Promise<Answer> =>
  plugin.call("Create", { urn: URN, name: "it", preview, properties: { connection: secret(connection), ...inputs } });

const properties = (answer: Answer): JsonObject => {
  const found = answer.response?.properties;
  if (!isObject(found)) throw new Error(`no properties: ${JSON.stringify(answer)}`);
  return found;
};

const without = (inputs: JsonObject, ...names: string[]): JsonObject =>
  Object.fromEntries(Object.entries(inputs).filter(([name]) => !names.includes(name)));

const errorOf = (answer: Answer): string => answer.errors?.join("\n") ?? "no error";

describe("a remote command", () => {
  it("that fails says its status, itself and all that it wrote", async () => {
    const answer = await create({ create: 'echo "what\twas wrong" >&2; exit 3' });
    expect(errorOf(answer)).toBe(
      'rpc error: code = Unknown desc = Process exited with status 3: running "echo \\"what\\twas wrong\\" >&2; exit 3":\nwhat\twas wrong\n',
    );
  });

  it("that is killed says by which signal", async () => {
    expect(errorOf(await create({ create: "kill -TERM $$" }))).toContain(
      "Process exited with status 143 from signal TERM",
    );
  });

  it("need not read what it is given", async () => {
    const answer = await create({ create: "true", stdin: "x".repeat(5_000_000) });
    expect(properties(answer)).toMatchObject({ stdout: "", stderr: "" });
  });

  it("loses one line end, not more", async () => {
    expect(properties(await create({ create: "printf 'a\\n\\n'; printf 'ü' >&2" }))).toMatchObject({
      stdout: "a\n",
      stderr: "ü",
    });
  });

  it("runs beside many others", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => create({ create: `echo ${index}` })));
    expect(answers.map((answer) => properties(answer).stdout)).toEqual(answers.map((_, index) => String(index)));
  });

  it("makes its output a secret when it is one", async () => {
    expect(properties(await create({ create: secret("echo hidden") }))).toMatchObject({
      stdout: secret("hidden"),
      stderr: secret(""),
    });
  });
});

describe("the log", () => {
  const lines = async (logging: JsonObject) => {
    await create({ create: "printf 'out 1\\r\\nout 2'; sleep 0.2; echo err >&2", ...logging });
    return plugin.logs.map(({ severity, message, ephemeral }) => [severity, message, ephemeral]).sort();
  };
  const out = [
    ["INFO", "out 1", true],
    ["INFO", "out 2", true],
  ];
  const err = ["INFO", "err", true];

  it("gets both outputs by default", async () => {
    expect(await lines({})).toEqual([err, ...out]);
  });

  it.each([
    ["stdout", out],
    ["stderr", [err]],
    ["stdoutAndStderr", [err, ...out]],
    ["none", []],
  ])("gets what `logging: %s` says", async (logging, expected) => {
    expect(await lines({ logging })).toEqual(expected);
  });
});

describe("the environment", () => {
  it("is set where the server accepts it", async () => {
    const answer = await create({ create: "echo $GREETING", environment: { GREETING: "hello there" } });
    expect(properties(answer).stdout).toBe("hello there");
  });

  it("fails the command before it runs where the server does not", async () => {
    const answer = await create({ create: "touch ran", environment: { REFUSED: "1" } });
    expect(errorOf(answer)).toContain('could not set environment variable "REFUSED": ssh: setenv failed');
    expect(existsSync(join(directory.path, "ran"))).toBe(false);
    expect(plugin.logs).toEqual([
      { severity: "ERROR", message: expect.stringContaining("REFUSED") as string, ephemeral: false },
    ]);
  });

  const script = "echo out=$PULUMI_COMMAND_STDOUT err=$PULUMI_COMMAND_STDERR";
  const update = async (inputs: JsonObject, stdout = "earlier") => {
    const news = { connection: secret(endpoint()), create: script, ...inputs };
    const olds = { ...news, stdout, stderr: "problem" };
    return plugin.call("Update", { id: "it1", urn: URN, name: "it", olds, oldInputs: news, news });
  };

  it("holds the last output in an update, as far as the server accepts it", async () => {
    expect(properties(await update({})).stdout).toBe("out=earlier err=");
    expect(plugin.logs[0]).toMatchObject({
      severity: "WARNING",
      message: expect.stringContaining("_STDERR") as string,
    });
  });

  it("does not hold a last output that no packet can carry", async () => {
    expect(properties(await update({}, "x".repeat(300_000))).stdout).toBe("out= err=");
    expect(plugin.logs[0]).toMatchObject({
      severity: "WARNING",
      message: expect.stringContaining("_STDOUT") as string,
    });
  });

  it("holds no last output when that was not wanted", async () => {
    expect(properties(await update({ addPreviousOutputInEnv: false })).stdout).toBe("out= err=");
    expect(plugin.logs.filter(({ severity }) => severity === "WARNING")).toEqual([]);
  });

  it("holds the last output in a delete", async () => {
    const state = {
      connection: secret(endpoint()),
      delete: "echo $PULUMI_COMMAND_STDOUT > deleted",
      stdout: "earlier",
    };
    const oldInputs = without(state, "stdout");
    await plugin.call("Delete", { id: "it1", urn: URN, name: "it", properties: { ...state, stderr: "" }, oldInputs });
    const { stdout } = properties(await create({ create: "cat deleted" }));
    expect(stdout).toBe("earlier");
  });
});

describe("the way in", () => {
  const login = async (connection: JsonObject) => create({ create: "echo in" }, connection);
  const byPassword = (password: string) => without(endpoint({ password }), "privateKey");

  it("is taken when the host has the pinned key", async () => {
    expect(properties(await login(endpoint({ hostKey: server.hostKey }))).stdout).toBe("in");
  });

  it("is refused when the pinned key is of a kind that the host does not have", async () => {
    const other = utils.generateKeyPairSync("ecdsa", { bits: 256 }).public;
    expect(errorOf(await login(endpoint({ hostKey: other })))).toContain("ssh: host key mismatch");
  });

  it("can be a password", async () => {
    expect(properties(await login(byPassword("right"))).stdout).toBe("in");
    const refusal = errorOf(await login(byPassword("s3cret")));
    expect(refusal).toContain(
      "ssh: unable to authenticate, attempted methods [none password], no supported methods remain",
    );
    expect(refusal).not.toContain("s3cret");
  });

  it("can be an encrypted key", async () => {
    const keys = utils.generateKeyPairSync("ed25519", { passphrase: "open", cipher: "aes256-ctr", rounds: 16 });
    const host = stopAfterwards(await startSshServer({ directory: directory.path, clientKeys: keys }));
    const target = endpoint({ port: host.port, privateKey: keys.private });
    expect(properties(await login({ ...target, privateKeyPassword: "open" })).stdout).toBe("in");
    expect(errorOf(await login(target))).toContain("this private key is passphrase protected");
    expect(errorOf(await login({ ...target, privateKeyPassword: "wrong" }))).toContain("decryption password incorrect");
  });

  it("can lead through a bastion", async () => {
    const bastion = stopAfterwards(await startSshServer({ directory: directory.path }));
    const proxy = endpoint({ port: bastion.port, privateKey: bastion.clientKey });
    expect(properties(await login(endpoint({ proxy }))).stdout).toBe("in");
    expect(bastion.logins()).toBe(1);

    const port = await closedPort();
    expect(errorOf(await login(endpoint({ proxy: { ...proxy, port } })))).toBe(
      `rpc error: code = Unknown desc = proxy: after 0 failed attempts: dial tcp 127.0.0.1:${port}: connect: connection refused`,
    );
  });

  it("is tried again, and each failure told, until the host is there", async () => {
    const port = await closedPort();
    const pending = login(endpoint({ port, dialErrorLimit: 10 }));
    await sleep(700);
    const clientKeys = keysOf(server);
    stopAfterwards(await startSshServer({ directory: directory.path, port, clientKeys }));
    expect(properties(await pending).stdout).toBe("in");
    expect(plugin.logs[0]).toEqual({ severity: "INFO", message: "Dial 1/10 failed: retrying", ephemeral: true });
  });

  it("is given up when the other side stays silent", async () => {
    const silent = stopAfterwards(await silentPort());
    const answer = await login(endpoint({ port: silent.port, perDialTimeout: 1, dialErrorLimit: 1 }));
    expect(errorOf(answer)).toContain("after 1 failed attempts: ssh: handshake failed: i/o timeout");
    expect(silent.attempts()).toBe(2);
  });
});

describe("a preview", () => {
  const inputs = () => ({ connection: secret(endpoint()), create: "echo x", stdin: "1" });
  const update = (changes: JsonObject) => {
    const olds = { ...inputs(), stdout: "x", stderr: "" };
    const news = { ...inputs(), ...changes };
    return plugin.call("Update", { id: "it1", urn: URN, name: "it", preview: true, olds, oldInputs: inputs(), news });
  };

  it("opens no connection and knows no output of a new command", async () => {
    const before = server.logins();
    const answer = await create({ create: "touch previewed" }, endpoint(), true);
    expect(answer.response?.id).toBe("");
    expect(properties(answer)).toMatchObject({ stdout: UNKNOWN, stderr: UNKNOWN });
    expect(server.logins()).toBe(before);
  });

  it("knows no output of a changed command, and the last one of a command with another input", async () => {
    expect(properties(await update({ create: "echo y" }))).toMatchObject({ stdout: UNKNOWN });
    expect(properties(await update({ update: UNKNOWN }))).toMatchObject({ stdout: UNKNOWN });
    expect(properties(await update({ stdin: "2" }))).toMatchObject({ stdout: "x", stdin: "2" });
  });

  it("takes a connection that is not known yet", async () => {
    const news = { connection: secret(UNKNOWN), create: "true" };
    const answer = await plugin.call("Check", { urn: URN, name: "it", olds: {}, news });
    expect(answer.response).toEqual({ inputs: news });
  });
});

describe("inputs", () => {
  const check = async (news: JsonObject) => {
    const { response } = await plugin.call("Check", { urn: URN, name: "it", olds: {}, news });
    return response;
  };

  it("are refused by name, never by value", async () => {
    const response = await check({
      connection: secret({ ...endpoint(), privatekey: "very private" }),
      stdIn: "very private",
      logging: "very private",
    });
    expect(textOf(JSON.stringify(response?.failures))).not.toContain("very private");
    expect(response?.failures).toMatchObject([
      { property: "stdIn" },
      { property: "logging" },
      { property: "connection.privatekey" },
    ]);
  });

  it("need a connection with a host", async () => {
    expect((await check({ create: "true" }))?.failures).toMatchObject([{ property: "connection" }]);
    const nowhere = secret(without(endpoint(), "host"));
    expect((await check({ connection: nowhere }))?.failures).toMatchObject([{ property: "connection.host" }]);
  });

  it("get a connection's defaults", async () => {
    const response = await check({ connection: { host: "192.0.2.1", password: "p" } });
    expect(response?.inputs).toEqual({
      connection: secret({
        ...{ host: "192.0.2.1", password: secret("p"), user: "root", port: 22 },
        ...{ dialErrorLimit: 10, perDialTimeout: 15 },
      }),
    });
  });

  it("differ path by path, but not inside a secret", async () => {
    const oldInputs = {
      connection: secret(endpoint()),
      environment: { A: "1", "B.c": "1" },
      stdin: "x",
      triggers: [1, 2],
    };
    const news = {
      connection: secret(endpoint({ port: 1 })),
      environment: { A: "2" },
      create: "true",
      triggers: [1, 3, 4],
    };
    const { response } = await plugin.call("Diff", { id: "it1", urn: URN, olds: oldInputs, oldInputs, news });
    expect(response).toEqual({
      changes: "DIFF_SOME",
      diffs: ["connection", "environment", "stdin", "triggers", "create"],
      hasDetailedDiff: true,
      detailedDiff: {
        connection: { kind: "UPDATE" },
        create: { kind: "ADD" },
        "environment.A": { kind: "UPDATE" },
        'environment["B.c"]': { kind: "DELETE" },
        stdin: { kind: "DELETE" },
        "triggers[1]": { kind: "UPDATE" },
        "triggers[2]": { kind: "ADD" },
      },
    });
  });

  it("of a type that the plugin does not have get an error that says so", async () => {
    const answer = await plugin.call("Check", {
      urn: URN.replace("remote:Command", "remote:CopyToRemote"),
      olds: {},
      news: {},
    });
    expect(errorOf(answer)).toMatch(/code = Unimplemented .*"command:remote:CopyToRemote"; use the official plugin/);
  });
});

describe("the end", () => {
  const LONG = "echo $$ > running; exec sleep 60";

  beforeEach(async () => {
    plugin = await PluginProcess.start(bundle, directory.path);
    stopAfterwards({ stop: () => plugin.stop() });
  });

  const started = async () => {
    const file = join(directory.path, "running");
    writeFileSync(file, "");
    const answer = create({ create: LONG });
    let pid = 0;
    while (pid === 0) {
      await sleep(20);
      pid = Number(properties(await create({ create: "cat running" })).stdout);
    }
    return { answer, pid };
  };
  const isGone = async (pid: number) => {
    for (let tries = 0; tries < 150; tries++) {
      if (!existsSync(`/proc/${pid}`)) return true;
      await sleep(20);
    }
    return false;
  };

  it("of an update that was cancelled waits for a command that runs", async () => {
    const answer = create({ create: "echo begun >&2; sleep 1; echo finished" });
    while (plugin.logs.length === 0) await sleep(20);
    await plugin.call("Cancel");
    expect(properties(await answer)).toMatchObject({ stdout: "finished" });
  });

  it("of an update that was cancelled comes at once for what has not begun", async () => {
    const answer = create({ create: "true" }, endpoint({ port: await closedPort(), dialErrorLimit: -1 }));
    while (plugin.logs.length === 0) await sleep(20);
    expect(plugin.logs[0]?.message).toBe("Dial 1/inf failed: retrying");
    await plugin.call("Cancel");
    expect(errorOf(await answer)).toContain("the update was cancelled before this command began");
    expect(errorOf(await create({ create: "touch late" }))).toContain("was cancelled");
    expect(existsSync(join(directory.path, "late"))).toBe(false);
  });

  it("of an update that was cancelled kills a local command", async () => {
    const urn = URN.replace("remote", "local");
    const answer = plugin.call("Create", { urn, name: "it", properties: { create: "echo begun; exec sleep 60" } });
    while (plugin.logs.length === 0) await sleep(20);
    await plugin.call("Cancel");
    expect(errorOf(await answer)).toContain("exec sleep 60");
  });

  it.each(["SIGINT", "SIGTERM"] as const)("comes with %s, also to what was running", async (signal) => {
    const { answer, pid } = await started();
    const exited = once(plugin.process, "exit");
    plugin.process.kill(signal);
    expect(await exited).toEqual([0, null]);
    expect(errorOf(await answer)).toMatch(/rpc error/);
    expect(await isGone(pid)).toBe(true);
  });

  it("comes when the engine was killed", async () => {
    const script = 'node "$0" & echo $!; wait';
    const engine = spawn("/bin/bash", ["--norc", "-c", script, bundle], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface(engine.stdout)[Symbol.asyncIterator]();
    const pid = Number((await lines.next()).value);
    stops.push(() => {
      killIfThere(pid);
      return Promise.resolve();
    });
    // The port, which comes once the plugin is ready.
    await lines.next();
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    engine.kill("SIGKILL");
    expect(await isGone(pid)).toBe(true);
  });
});

function killIfThere(pid: number): void {
  if (existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
}

function keysOf(host: SshServer): { private: string; public: string } {
  const key = utils.parseKey(host.clientKey);
  if (key instanceof Error) throw key;
  return { private: host.clientKey, public: `${key.type} ${key.getPublicSSH().toString("base64")}` };
}
