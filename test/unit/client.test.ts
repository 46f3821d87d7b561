/*
 * The lab's Matrix client against a server in this process that speaks just enough of the client-server API over HTTPS, with
 * certificates made for the occasion.
 */
import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { LabClient, openClient, type ClientOptions } from "../../lab/client/client";

const REPOSITORY = resolve(__dirname, "../..");
const VERSIONS = { versions: ["v1.11"] };
const PASSWORD = "correct horse";
const NAMES = "DNS:lab.test,DNS:matrix.lab.test";

const directory = mkdtempSync(join(tmpdir(), "matrix-client-"));
let authority: Authority;
let homeserver: Homeserver;

// The prover starts a process that loads the whole SDK.
jest.setTimeout(30_000);

beforeAll(async () => {
  authority = new Authority("authority");
  homeserver = await Homeserver.start(authority.issue(NAMES));
});

afterEach(() => {
  homeserver.reset();
});

afterAll(async () => {
  await homeserver.stop();
  rmSync(directory, { recursive: true });
});

test("a message is read back in a second session, and both sessions are ended", async () => {
  const client = await openClient(options());
  try {
    const message = await client.sendAndReadBack('grüße, 世界 "quoted"');
    expect(message).toMatchObject({ roomId: "!room:lab.test", body: 'grüße, 世界 "quoted"' });
    expect(homeserver.logins).toBe(2);
    expect(homeserver.tokens.size).toBe(1);
    await client.logout();
    expect(homeserver.tokens.size).toBe(0);
  } finally {
    await client.close();
  }
});

test("a message that the server lists late is waited for", async () => {
  homeserver.hiddenReads = 2;
  await using(async (client) => {
    await client.login();
    await expect(client.sendAndReadBack("late")).resolves.toMatchObject({ body: "late" });
  });
});

test("a message that came back changed is a failure", async () => {
  homeserver.change = (body) => body.toUpperCase();
  await using(async (client) => {
    await client.login();
    await expect(client.sendAndReadBack("hello")).rejects.toThrow(
      'reading failed: expected "hello", but it was "HELLO"',
    );
  });
});

test("closing ends the session that was left open", async () => {
  await using((client) => client.login());
  expect(homeserver.logins).toBe(1);
  expect(homeserver.tokens.size).toBe(0);
});

test("a well-known that names another base URL is followed", async () => {
  await using(async (client) => {
    await expect(client.discover()).resolves.toBe("https://matrix.lab.test");
    await expect(client.login()).resolves.toBe("@admin:lab.test");
  });
  expect(homeserver.requests).toContain("lab.test /.well-known/matrix/client");
  expect(homeserver.requests).toContain("matrix.lab.test /_matrix/client/v3/login");
  expect(homeserver.requests.filter((request) => request.startsWith("lab.test /_matrix"))).toEqual([]);
});

test("a certificate from another authority is refused", async () => {
  await refused(
    { ca: new Authority("stranger").certificate },
    /^discovery failed: expected an answer from .*certificate/,
  );
});

test("a certificate from an authority that nobody named is refused, also where the environment turns verification off", async () => {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  try {
    await refused({ ca: undefined }, /certificate/);
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  }
});

test("a certificate for another name is refused", async () => {
  await refused(
    { serverName: "other.test" },
    /expected an answer from https:\/\/other\.test\/.*altnames: Host: other\.test\./,
  );
});

test("a certificate that is right for the server name alone is refused at the homeserver", async () => {
  const partial = await Homeserver.start(authority.issue("DNS:lab.test"));
  try {
    await refused(
      { port: partial.port },
      /expected a homeserver at https:\/\/matrix\.lab\.test, but .*altnames/,
      partial,
    );
  } finally {
    await partial.stop();
  }
});

test("a wrong password gives a clear sentence", async () => {
  await expect(openClient(options({ password: "wrong" }))).rejects.toThrow(
    "login failed: expected https://matrix.lab.test to accept @admin:lab.test and the password, " +
      "but the server answered 403 M_FORBIDDEN: Invalid username or password",
  );
});

test("a server that limits logins says how long to wait", async () => {
  homeserver.limited = true;
  await expect(openClient(options())).rejects.toThrow(
    "429 M_LIMIT_EXCEEDED: Too Many Requests (it takes the next one in 334 s)",
  );
});

test.each([
  [
    "a missing well-known",
    { status: 404 },
    "expected status 200 from https://lab.test/.well-known/matrix/client, but it was 404",
  ],
  ["a well-known without CORS", { headers: {} }, "Access-Control-Allow-Origin: [*] from .*, but there was none"],
  ["a well-known that is no JSON", { body: "<html>" }, 'base_url of m.homeserver in JSON, but it holds "<html>"'],
  [
    "a base URL without TLS",
    { body: wellKnown("http://matrix.lab.test") },
    "to name an https base_url .*http://matrix",
  ],
  [
    "a redirection to plain HTTP",
    { status: 302, headers: { location: "http://lab.test/" } },
    "lab.test was to be asked without encryption",
  ],
])("%s is a failure of the discovery", async (_name, answer, sentence) => {
  homeserver.wellKnown = { ...homeserver.wellKnown, ...answer };
  await refused({}, new RegExp(sentence));
});

test("something else than a homeserver at the base URL is a failure of the discovery", async () => {
  homeserver.versions = {};
  await refused({}, /expected a homeserver at https:.*, but it named no versions of the protocol/);
});

test("nothing that listens is a failure of the discovery", async () => {
  const gone = await Homeserver.start(authority.issue(NAMES));
  await gone.stop();
  await refused({ port: gone.port }, /connect ECONNREFUSED 127\.0\.0\.1:/, gone);
});

test.each(["/.well-known/matrix/client", "/_matrix/client/v3/login"])(
  "a server that hangs at %s is given up",
  async (path) => {
    homeserver.hang = path;
    await refused({ timeoutMs: 200 }, /no answer in time/);
  },
);

describe("lab/client/prove.ts", () => {
  test("prints what it did", async () => {
    const { status, stdout, stderr } = await prove(JSON.stringify(outputs()));
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toEqual([
      "https://lab.test says its homeserver is https://matrix.lab.test",
      "logged in as @admin:lab.test over TLS, certificate verified",
      expect.stringMatching(/^sent to !room:lab\.test: "Hello from @admin:lab\.test, /),
      expect.stringMatching(/^read back: "Hello from @admin:lab\.test, /),
      "the homeserver works",
      "",
    ]);
    expect(status).toBe(0);
    expect(homeserver.tokens.size).toBe(0);
  });

  test.each([
    ["the wrong password", { adminPassword: "wrong" }, /^login failed: .*M_FORBIDDEN: Invalid username or password\n$/],
    [
      "another base URL than the stack's",
      { baseUrl: "https://x.test" },
      /^discovery failed: expected .* it names .*\n$/,
    ],
    ["an incomplete stack", { adminPassword: undefined }, /^input failed: .* adminPassword: .*\n$/],
  ])("with %s says so in one line", async (_name, change, sentence) => {
    const { status, stderr } = await prove(JSON.stringify({ ...outputs(), ...change }));
    expect(stderr).toMatch(sentence);
    expect(status).toBe(1);
  });

  test("does not repeat an input that it cannot read", async () => {
    const { status, stderr } = await prove(`{"adminPassword": "${PASSWORD}"`);
    expect(stderr).toMatch(/^input failed: .*no JSON\n$/);
    expect(status).toBe(1);
  });

  async function prove(input: string): Promise<{ status: number | null; stdout: string; stderr: string }> {
    const child = spawn("node_modules/.bin/tsx", ["lab/client/prove.ts"], { cwd: REPOSITORY, timeout: 20_000 });
    child.stdin.end(input);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    if (child.exitCode === null) await once(child, "exit");
    return { status: child.exitCode, stdout, stderr };
  }

  function outputs() {
    return {
      serverName: "lab.test",
      baseUrl: "https://matrix.lab.test/",
      adminUserId: "@admin:lab.test",
      adminPassword: PASSWORD,
      caCertificate: authority.certificate,
      hostAddress: "127.0.0.1",
      hostPort: homeserver.port,
      unrelated: { more: true },
    };
  }
});

function options(change: Partial<ClientOptions> = {}): ClientOptions {
  const ca = authority.certificate;
  const here = { serverName: "lab.test", address: "127.0.0.1", port: homeserver.port, ca };
  return { ...here, user: "admin", password: PASSWORD, ...change };
}

async function using(use: (client: LabClient) => Promise<unknown>): Promise<void> {
  const client = new LabClient(options());
  try {
    await use(client);
  } finally {
    await client.close();
  }
}

async function refused(change: Partial<ClientOptions>, sentence: RegExp, server = homeserver): Promise<void> {
  await expect(openClient(options(change))).rejects.toThrow(sentence);
  expect(server.logins).toBe(0);
}

function wellKnown(baseUrl: string): string {
  return JSON.stringify({ "m.homeserver": { base_url: baseUrl } });
}

interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority in files of its own. */
class Authority {
  readonly certificate: string;

  constructor(private readonly name: string) {
    const files = ["-keyout", this.file("key"), "-out", this.file("crt")];
    openssl("req", "-x509", ...KEY, "-days", "2", "-subj", `/CN=${name}`, ...files);
    this.certificate = readFileSync(this.file("crt"), "utf8");
  }

  /** A server certificate for these names, written as in `subjectAltName`. */
  issue(names: string): KeyPair {
    const [key, request, extensions] = [this.file("server.key"), this.file("server.csr"), this.file("server.ext")];
    writeFileSync(extensions, `subjectAltName=${names}\n`);
    openssl("req", "-new", ...KEY, "-subj", "/CN=server", "-keyout", key, "-out", request);
    const by = ["-CA", this.file("crt"), "-CAkey", this.file("key"), "-set_serial", `0x${randomUUID().slice(0, 8)}`];
    const cert = openssl("x509", "-req", "-in", request, ...by, "-days", "2", "-extfile", extensions);
    return { key: readFileSync(key, "utf8"), cert };
  }

  private file(suffix: string): string {
    return join(directory, `${this.name}.${suffix}`);
  }
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

function openssl(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync("openssl", words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${words[0] ?? ""} failed: ${stderr}`);
  return stdout;
}

/** Serves lab.test and its homeserver matrix.lab.test, with one user and one room. */
class Homeserver {
  /** Every request so far, as "host path". */
  requests: string[] = [];
  logins = 0;
  /** The access tokens that are good. */
  readonly tokens = new Set<string>();
  /** How many times the messages are asked for in vain. */
  hiddenReads = 0;
  limited = false;
  /** The path whose answer begins and never ends. */
  hang = "";
  change = (body: string): string => body;
  versions: object = VERSIONS;
  wellKnown = Homeserver.rightWellKnown();
  private messages: { event_id: string; type: string; content: { body: string } }[] = [];

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(keyPair: KeyPair): Promise<Homeserver> {
    const server = createServer(keyPair).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Homeserver(server, (server.address() as AddressInfo).port);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  /** Forgets what happened, and behaves again. */
  reset(): void {
    this.requests = [];
    this.logins = 0;
    this.tokens.clear();
    this.messages = [];
    this.hiddenReads = 0;
    this.limited = false;
    this.hang = "";
    this.change = (body) => body;
    this.versions = VERSIONS;
    this.wellKnown = Homeserver.rightWellKnown();
  }

  private static rightWellKnown(): { status: number; headers: Record<string, string>; body: string } {
    const body = wellKnown("https://matrix.lab.test/");
    return { status: 200, headers: { "access-control-allow-origin": "*" }, body };
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "https://server");
    this.requests.push(`${request.headers.host ?? ""} ${pathname}`);
    if (pathname === this.hang) {
      response.writeHead(200, { "content-type": "application/json" }).write("{");
      return;
    }
    if (pathname === "/.well-known/matrix/client") {
      response.writeHead(this.wellKnown.status, this.wellKnown.headers).end(this.wellKnown.body);
      return;
    }
    const body = JSON.parse((await text(request)) || "{}") as Record<string, unknown>;
    const [status, content] = this.clientApi(pathname, body, request.headers.authorization?.replace("Bearer ", ""));
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(content));
  }

  private clientApi(path: string, body: Record<string, unknown>, token = ""): [status: number, content: object] {
    if (path === "/_matrix/client/versions") return [200, this.versions];
    if (path === "/_matrix/client/v3/login") return this.login(body);
    if (!this.tokens.has(token)) return [401, { errcode: "M_UNKNOWN_TOKEN", error: "Invalid access token" }];
    if (path === "/_matrix/client/v3/logout") {
      this.tokens.delete(token);
      return [200, {}];
    }
    if (path === "/_matrix/client/v3/createRoom") return [200, { room_id: "!room:lab.test" }];
    const room = "/_matrix/client/v3/rooms/!room%3Alab.test";
    if (path.startsWith(`${room}/send/m.room.message/`)) {
      const message = { event_id: `$${randomUUID()}`, type: "m.room.message", content: body as { body: string } };
      this.messages.unshift(message);
      return [200, { event_id: message.event_id }];
    }
    if (path === `${room}/messages`) {
      const chunk = this.hiddenReads-- > 0 ? [] : this.messages;
      return [
        200,
        { start: "0", chunk: chunk.map((event) => ({ ...event, content: { body: this.change(event.content.body) } })) },
      ];
    }
    return [404, { errcode: "M_UNRECOGNIZED", error: `Unrecognized request: ${path}` }];
  }

  private login(body: Record<string, unknown>): [status: number, content: object] {
    if (this.limited) {
      return [429, { errcode: "M_LIMIT_EXCEEDED", error: "Too Many Requests", retry_after_ms: 333_333 }];
    }
    const { user } = body.identifier as { user?: string };
    if (body.type !== "m.login.password" || user !== "@admin:lab.test" || body.password !== PASSWORD) {
      return [403, { errcode: "M_FORBIDDEN", error: "Invalid username or password" }];
    }
    this.logins++;
    const token = randomUUID();
    this.tokens.add(token);
    return [200, { user_id: user, device_id: `DEVICE${this.logins}`, access_token: token }];
  }
}
