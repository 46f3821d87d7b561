/*
 * A Matrix client as people use one: it starts from a server name and a password, finds the homeserver by well-known discovery
 * and speaks to it with matrix-js-sdk over HTTPS. It verifies certificates like any other client; only names are resolved
 * differently, because those of the lab are in no DNS.
 */
import { lookup } from "node:dns";
import type { Direction, MatrixClient, MatrixError } from "matrix-js-sdk" with { "resolution-mode": "import" };
import type { Logger } from "matrix-js-sdk/lib/logger.js" with { "resolution-mode": "import" };
import { Agent, buildConnector, fetch, type RequestInfo, type RequestInit, type Response } from "undici";
import { z } from "zod";

/** Who logs in, and where. */
export interface ClientOptions {
  /** The domain of the user ids, where discovery starts: `example.com`. */
  readonly serverName: string;
  /** The IP address, or a name that DNS knows, to which every name is resolved. */
  readonly address: string;
  /** The port on `address` that stands for every port. Default: the one in the URL, so 443 for discovery. */
  readonly port?: number;
  /** Certificates in PEM format, the only ones trusted. Default: the certificate authorities that Node.js knows. */
  readonly ca?: string;
  /** `@name:example.com`, or the `name` alone. */
  readonly user: string;
  readonly password: string;
  /** After how many milliseconds a request is given up. Default: 10 000. */
  readonly timeoutMs?: number;
}

/** Where a message is. */
export interface SentMessage {
  readonly roomId: string;
  readonly eventId: string;
}

/** A message that made the whole way. */
export interface ReadMessage extends SentMessage {
  /** The text that the server gave back. */
  readonly body: string;
}

/** A step that failed. The message is one sentence: the step, what was expected and what came instead. */
export class ClientError extends Error {
  override readonly name = "ClientError";

  constructor(
    readonly step: "discovery" | "login" | "sending" | "reading" | "upload" | "download" | "logout",
    expected: string,
    instead: string,
    options?: ErrorOptions,
  ) {
    super(`${step} failed: expected ${expected}, but ${instead}`, options);
  }
}

const REQUEST_TIMEOUT_MS = 10_000;
// A message goes from one of Synapse's workers to another in milliseconds; this is for a busy machine.
const READ_TIMEOUT_MS = 10_000;
const READ_INTERVAL_MS = 250;
const PAGE_EVENTS = 50;

const wellKnown = z.object({ "m.homeserver": z.object({ base_url: z.url({ protocol: /^https$/ }) }) });
const uploaded = z.object({ content_uri: z.string().startsWith("mxc://") });
const textMessage = z.object({ body: z.string() });

/**
 * A client of one user. Call `close` when done with it, whatever happened: nothing stays open behind it.
 *
 * Each method rejects with a `ClientError`.
 */
export class LabClient {
  private readonly agent: Agent;
  private baseUrl: string | undefined;
  /** The session that `login` opened last. */
  private session: MatrixClient | undefined;
  /** All sessions that were opened and not ended. */
  private readonly sessions = new Set<MatrixClient>();

  constructor(private readonly options: ClientOptions) {
    this.agent = verifyingAgent(options);
  }

  /**
   * Asks the server name for its homeserver, and the homeserver whether it is one.
   *
   * @returns the homeserver's base URL, without a slash at the end
   */
  async discover(): Promise<string> {
    const url = `https://${this.options.serverName}/.well-known/matrix/client`;
    const answer = await attempt("discovery", `an answer from ${url}`, async () => {
      const response = await this.fetch(url);
      return {
        status: response.status,
        origin: response.headers.get("access-control-allow-origin"),
        body: await response.text(),
      };
    });
    if (answer.status !== 200) throw new ClientError("discovery", `status 200 from ${url}`, `it was ${answer.status}`);
    // Not needed here, but no client in a browser gets past this.
    if (answer.origin !== "*") {
      const instead = answer.origin === null ? "there was none" : `it was "${answer.origin}"`;
      throw new ClientError("discovery", `the header Access-Control-Allow-Origin: * from ${url}`, instead);
    }
    const parsed = wellKnown.safeParse(parseJson(answer.body));
    if (!parsed.success) {
      const instead = `it holds ${JSON.stringify(excerpt(answer.body))}`;
      throw new ClientError("discovery", `${url} to name an https base_url of m.homeserver in JSON`, instead);
    }
    const baseUrl = withoutSlash(parsed.data["m.homeserver"].base_url);

    const anonymous = await this.matrixClient(baseUrl);
    const { versions } = await attempt("discovery", `a homeserver at ${baseUrl}`, () => anonymous.getVersions());
    if (!Array.isArray(versions)) {
      throw new ClientError("discovery", `a homeserver at ${baseUrl}`, "it named no versions of the protocol");
    }
    this.baseUrl = baseUrl;
    return baseUrl;
  }

  /**
   * Logs the user in with the password, as a new device; does the discovery first if that was not done.
   *
   * @returns the full user id, as the server gave it
   */
  async login(): Promise<string> {
    this.session = await this.openSession();
    return this.session.getSafeUserId();
  }

  /** Sends a text message to a new private room. Log in first. */
  async send(text: string): Promise<SentMessage> {
    const session = this.session;
    if (!session) throw new ClientError("sending", "a session", "nobody is logged in");
    const { Preset, Visibility } = await loadSdk();
    const { room_id: roomId } = await attempt("sending", "a new private room", () =>
      session.createRoom({ preset: Preset.PrivateChat, visibility: Visibility.Private, name: "Proof" }),
    );
    const { event_id: eventId } = await attempt("sending", `${roomId} to take a message`, () =>
      session.sendTextMessage(roomId, text),
    );
    return { roomId, eventId };
  }

  /**
   * Reads a message from the server, in a session of its own that has seen nothing before and ends with it. A message that is
   * not there yet is waited for, at most 10 s.
   *
   * @returns the text
   */
  async read({ roomId, eventId }: SentMessage): Promise<string> {
    const session = await this.openSession();
    try {
      const { Direction } = await loadSdk();
      const deadline = Date.now() + READ_TIMEOUT_MS;
      for (;;) {
        const event = await attempt("reading", `the messages of ${roomId}`, () =>
          findEvent(session, roomId, eventId, Direction.Backward),
        );
        if (event) {
          const content = textMessage.safeParse(event.content);
          if (content.success) return content.data.body;
          throw new ClientError(
            "reading",
            `${eventId} to have a text`,
            `its content is ${JSON.stringify(event.content)}`,
          );
        }
        if (Date.now() > deadline) {
          throw new ClientError("reading", `${eventId} in ${roomId}`, "the server does not list it");
        }
        await new Promise((done) => setTimeout(done, READ_INTERVAL_MS));
      }
    } finally {
      await this.endSession(session).catch(() => undefined);
    }
  }

  /** Sends a text as `send` does, then reads it as `read` does, and makes sure that it is the same. */
  async sendAndReadBack(text: string): Promise<ReadMessage> {
    const sent = await this.send(text);
    const body = await this.read(sent);
    if (body !== text) throw new ClientError("reading", JSON.stringify(text), `it was ${JSON.stringify(body)}`);
    return { ...sent, body };
  }

  /**
   * Uploads a file. Log in first.
   *
   * @returns its `mxc:` URI
   */
  async upload(content: Uint8Array, type = "application/octet-stream"): Promise<string> {
    const answer = await this.mediaRequest("upload", "/_matrix/media/v3/upload", {
      method: "POST",
      headers: { "Content-Type": type },
      body: content,
    });
    const parsed = uploaded.safeParse(parseJson(await answer.text()));
    if (!parsed.success) throw new ClientError("upload", "a content_uri", "there was none");
    return parsed.data.content_uri;
  }

  /** The bytes of a file by its `mxc:` URI. Log in first. */
  async download(uri: string): Promise<Buffer> {
    const path = `/_matrix/client/v1/media/download/${uri.replace(/^mxc:\/\//, "")}`;
    return Buffer.from(await (await this.mediaRequest("download", path, {})).arrayBuffer());
  }

  /** The access token of the session that `login` opened last. */
  get accessToken(): string | null {
    return this.session?.getAccessToken() ?? null;
  }

  private async mediaRequest(step: "upload" | "download", path: string, init: RequestInit): Promise<Response> {
    if (!this.session) throw new ClientError(step, "a session", "nobody is logged in");
    const url = this.session.getHomeserverUrl() + path;
    const headers = { ...(init.headers as Record<string, string>), Authorization: `Bearer ${this.accessToken ?? ""}` };
    const answer = await attempt(step, `an answer from ${url}`, () => this.fetch(url, { ...init, headers }));
    if (answer.status !== 200) throw new ClientError(step, `status 200 from ${url}`, `it was ${answer.status}`);
    return answer;
  }

  /** Ends the user's sessions on the server, so that their access tokens are worth nothing any more. */
  async logout(): Promise<void> {
    this.session = undefined;
    for (const session of this.sessions) {
      await attempt("logout", "the end of the session", () => this.endSession(session));
    }
  }

  /** Logs out where that is still needed and possible, and closes every connection. Never rejects. */
  async close(): Promise<void> {
    // What went wrong before is worth telling, and this would hide it.
    await this.logout().catch(() => undefined);
    await this.agent.destroy();
  }

  private async openSession(): Promise<MatrixClient> {
    const { serverName, user, password } = this.options;
    const baseUrl = this.baseUrl ?? (await this.discover());
    const anonymous = await this.matrixClient(baseUrl);
    const userId = user.startsWith("@") ? user : `@${user}:${serverName}`;
    const answer = await attempt("login", `${baseUrl} to accept ${userId} and the password`, () =>
      anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: userId },
        password,
        initial_device_display_name: "lab/client",
      }),
    );
    const session = await this.matrixClient(baseUrl, answer);
    this.sessions.add(session);
    if (answer.user_id !== userId) {
      throw new ClientError("login", `to be ${userId}`, `the server says ${answer.user_id}`);
    }
    return session;
  }

  private async endSession(session: MatrixClient): Promise<void> {
    this.sessions.delete(session);
    await session.logout(true);
  }

  private async matrixClient(
    baseUrl: string,
    login?: { user_id: string; device_id: string; access_token: string },
  ): Promise<MatrixClient> {
    const { MatrixClient } = await loadSdk();
    return new MatrixClient({
      baseUrl,
      userId: login?.user_id,
      deviceId: login?.device_id,
      accessToken: login?.access_token,
      logger: silentLogger,
      // The same standard in two packages' types, which differ in corners that the SDK does not touch.
      fetchFn: ((input: RequestInfo, init?: RequestInit) =>
        this.fetch(input, init)) as unknown as typeof globalThis.fetch,
    });
  }

  private async fetch(input: RequestInfo, init: RequestInit = {}): Promise<Response> {
    // The SDK has a time limit too, but its timers outlive the requests and keep the process waiting.
    const signals = [
      AbortSignal.timeout(this.options.timeoutMs ?? REQUEST_TIMEOUT_MS),
      ...(init.signal ? [init.signal] : []),
    ];
    try {
      return await fetch(input, { ...init, signal: AbortSignal.any(signals), dispatcher: this.agent });
    } catch (error) {
      // The SDK keeps the message of an error, not its cause.
      throw new Error(reason(error), { cause: error });
    }
  }
}

/**
 * Discovers the homeserver and logs in. Call the client's `close` when done with it.
 *
 * @throws {ClientError} when a step fails; nothing is left open then
 */
export async function openClient(options: ClientOptions): Promise<LabClient> {
  const client = new LabClient(options);
  try {
    await client.login();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** The SDK is an ES module, which a CommonJS module can only load like this. */
function loadSdk() {
  return import("matrix-js-sdk");
}

const ignore = (): void => undefined;
const silentLogger: Logger = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  getChild: () => silentLogger,
};

function verifyingAgent({ address, port, ca }: ClientOptions): Agent {
  const connect = buildConnector({
    ca,
    // Said out loud, because NODE_TLS_REJECT_UNAUTHORIZED in the environment would change the default.
    rejectUnauthorized: true,
    lookup: (_name, options, callback) => {
      lookup(address, options, callback);
    },
  });
  return new Agent({
    connect: (target, callback) => {
      // A redirection may lead here.
      if (target.protocol === "https:") connect(port === undefined ? target : { ...target, port: `${port}` }, callback);
      else callback(new Error(`${target.hostname} was to be asked without encryption`), null);
    },
  });
}

async function findEvent(session: MatrixClient, roomId: string, eventId: string, direction: Direction) {
  const page = await session.createMessagesRequest(roomId, null, PAGE_EVENTS, direction);
  return page.chunk.find((event) => event.event_id === eventId);
}

async function attempt<T>(step: ClientError["step"], expected: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const { MatrixError } = await loadSdk();
    const instead = error instanceof MatrixError ? refusal(error) : `it ended in "${reason(error)}"`;
    throw new ClientError(step, expected, instead, { cause: error });
  }
}

function refusal(error: MatrixError): string {
  const answer = `the server answered ${error.httpStatus ?? ""} ${error.errcode ?? ""}: ${error.data.error ?? ""}`;
  if (!error.isRateLimitError()) return answer;
  const waitMs = error.getRetryAfterMs();
  return waitMs === null ? answer : `${answer} (it takes the next one in ${Math.ceil(waitMs / 1000)} s)`;
}

/**
 * What lies at the bottom of a failed request: fetch and the SDK wrap what TLS or the network said. Goes by shape, because
 * under jest Node's own errors are no instances of the `Error` that is seen here.
 */
function reason(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  const { name, message, cause, errors } = error as Partial<AggregateError>;
  if (name === "AbortError" || name === "TimeoutError") return "no answer in time";
  const inner: unknown = errors?.[0] ?? cause;
  return inner === undefined ? (message ?? "no reason given") : reason(inner);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function excerpt(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, "");
}
