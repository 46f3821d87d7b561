import { createConnection, isIP, type Socket } from "node:net";
import { constants } from "node:os";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  Client,
  utils,
  type AnyAuthMethod,
  type AuthenticationType,
  type AuthHandlerMiddleware,
  type ClientChannel,
  type ConnectConfig,
  type ParsedKey,
  type ServerHostKeyAlgorithm,
} from "ssh2";
import type { RunningCommand } from "./output";

/** How to reach a host and be let in. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: string;
  readonly privateKey?: string;
  readonly privateKeyPassword?: string;
  readonly agentSocketPath?: string;
  /** The only host key that will do, in `authorized_keys` format. */
  readonly hostKey?: string;
  /** Retries after a failed attempt; -1 for no end of them. */
  readonly dialErrorLimit: number;
  /** Seconds that an attempt may take; 0 for no limit. */
  readonly perDialTimeout: number;
}

/** An endpoint, possibly behind a bastion host. */
export interface Target extends Endpoint {
  readonly proxy?: Endpoint;
}

/** What an attempt to connect needs besides its target. */
export interface Dialing {
  readonly signal: AbortSignal;
  /** Told about every attempt that will be repeated. */
  onRetry(message: string): void;
}

// Retries back off as the official plugin's do.
const FIRST_DELAY_MS = 100;
const BACKOFF = 1.5;
const LONGEST_DELAY_MS = 5000;

const TCP_KEEPALIVE_MS = 15_000;

/** Connects, retrying as often as the endpoint allows, and runs `use` on the connection, which is closed afterwards. */
export async function withConnection<T>(
  target: Target,
  dialing: Dialing,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  // Keys that cannot be read will not be readable at the next attempt either.
  const credentials = readCredentials(target);
  const { proxy } = target;
  if (!proxy) {
    const open = () => connect(target, credentials, () => openTcp(target, dialing.signal), dialing.signal);
    return useAndEnd(await retry("Dial", target.dialErrorLimit, dialing, open), use);
  }

  const through = async (bastion: Client) => {
    const open = () => connect(target, credentials, () => openForward(bastion, target), dialing.signal);
    return useAndEnd(
      await prefixErrors("proxy: ", retry("Dial from proxy", target.dialErrorLimit, dialing, open)),
      use,
    );
  };
  const dialProxy = async () => {
    const proxyCredentials = readCredentials(proxy);
    const open = () => connect(proxy, proxyCredentials, () => openTcp(proxy, dialing.signal), dialing.signal);
    return retry("Dial proxy", proxy.dialErrorLimit, dialing, open);
  };
  return useAndEnd(await prefixErrors("proxy: ", dialProxy()), through);
}

async function useAndEnd<T>(client: Client, use: (client: Client) => Promise<T>): Promise<T> {
  try {
    return await use(client);
  } finally {
    client.end();
  }
}

async function prefixErrors<T>(prefix: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw new Error(prefix + messageOf(error), { cause: error });
  }
}

async function retry<T>(what: string, limit: number, dialing: Dialing, attempt: () => Promise<T>): Promise<T> {
  let delay = FIRST_DELAY_MS;
  for (let failed = 0; ; failed++) {
    dialing.signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      dialing.signal.throwIfAborted();
      if (limit >= 0 && failed >= limit) {
        throw new Error(`after ${failed} failed attempts: ${messageOf(error)}`, { cause: error });
      }
      dialing.onRetry(`${what} ${failed + 1}/${limit < 0 ? "inf" : limit} failed: retrying`);
    }
    // A cancelled wait ends here; the top of the loop says so in the caller's words.
    await sleep(Math.min(delay, LONGEST_DELAY_MS), undefined, { signal: dialing.signal }).catch(() => undefined);
    delay *= BACKOFF;
  }
}

interface Credentials {
  readonly key: ParsedKey | undefined;
  readonly hostKey: ParsedKey | undefined;
}

function readCredentials(endpoint: Endpoint): Credentials {
  return {
    key:
      endpoint.privateKey === undefined ? undefined : parsePrivateKey(endpoint.privateKey, endpoint.privateKeyPassword),
    hostKey: endpoint.hostKey === undefined ? undefined : parseHostKey(endpoint.hostKey),
  };
}

function parsePrivateKey(pem: string, passphrase: string | undefined): ParsedKey {
  if (!pem.includes("-----BEGIN ")) throw new Error("ssh: no key found");
  const key = utils.parseKey(pem, passphrase);
  if (!(key instanceof Error)) return key;
  // Never the library's own text for these: it may quote the key.
  if (/no passphrase/i.test(key.message)) throw new Error("ssh: this private key is passphrase protected");
  if (/passphrase|integrity/i.test(key.message)) throw new Error("x509: decryption password incorrect");
  throw new Error("ssh: cannot read the private key: use one made by ssh-keygen");
}

function parseHostKey(line: string): ParsedKey {
  const key = utils.parseKey(line.trim());
  if (key instanceof Error) throw new Error("ssh: no key found in hostKey: it looks like `ssh-ed25519 AAAA…`");
  return key;
}

function openTcp({ host, port, perDialTimeout }: Endpoint, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    const giveUp = (reason: string) => {
      socket.destroy();
      reject(new Error(`dial tcp ${joinHostPort(host, port)}: ${reason}`));
    };
    const onAbort = () => {
      giveUp("operation was canceled");
    };
    const timer = perDialTimeout > 0 ? setTimeout(giveUp, perDialTimeout * 1000, "i/o timeout") : undefined;
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
    socket.once("connect", () => {
      settle();
      socket.removeAllListeners("error");
      socket.setNoDelay(true).setKeepAlive(true, TCP_KEEPALIVE_MS);
      resolve(socket);
    });
    socket.once("error", (error: NodeJS.ErrnoException & { address?: string }) => {
      settle();
      giveUp(networkError(host, error));
    });
  });
}

function openForward(bastion: Client, { host, port }: Endpoint): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    bastion.forwardOut("127.0.0.1", 0, host, port, (error, channel) => {
      if (error) reject(new Error(`ssh: rejected: ${error.message}`));
      else resolve(channel);
    });
  });
}

async function connect(
  endpoint: Endpoint,
  { key, hostKey }: Credentials,
  open: () => Promise<Duplex>,
  signal: AbortSignal,
): Promise<Client> {
  const client = new Client();
  const attempted: string[] = [];
  let hostKeyMatched = true;
  const config: ConnectConfig = {
    sock: await open(),
    username: endpoint.user,
    // A connection that is accepted and then left silent is a failed attempt as well.
    readyTimeout: endpoint.perDialTimeout * 1000,
    authHandler: authenticator(endpoint, key, attempted),
    hostVerifier: (offered: Buffer) => (hostKeyMatched = !hostKey || hostKey.getPublicSSH().equals(offered)),
    ...(hostKey && { algorithms: { serverHostKey: algorithmsOf(hostKey) } }),
  };
  const onAbort = () => client.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  const settle = () => {
    signal.removeEventListener("abort", onAbort);
  };

  return new Promise((resolve, reject) => {
    const fail = (error: Error & { level?: string }) => {
      client.destroy();
      // Once the connection is handed over, the command's own channel tells what happened, and this changes nothing.
      reject(new Error(`ssh: handshake failed: ${handshakeError(error, hostKeyMatched, attempted)}`));
    };
    // More than one of these may come, also after the connection was given up or handed over; an error that nobody listens to
    // would end the process.
    client.on("error", fail);
    client.once("close", () => {
      settle();
      fail(new Error("EOF"));
    });
    client.once("ready", () => {
      // From here on a cancellation waits: cutting the connection would leave the command running on the host, unwatched.
      settle();
      resolve(client);
    });
    client.connect(config);
  });
}

/** Tries what the official plugin tries, in its order, and notes it for the error. */
function authenticator(endpoint: Endpoint, key: ParsedKey | undefined, attempted: string[]): AuthHandlerMiddleware {
  const { user: username, password } = endpoint;
  const agent = endpoint.agentSocketPath ?? process.env.SSH_AUTH_SOCK;
  const methods: AnyAuthMethod[] = [
    { type: "none", username },
    ...(key ? [{ type: "publickey" as const, username, key }] : []),
    ...(password === undefined
      ? []
      : [
          { type: "password" as const, username, password },
          {
            type: "keyboard-interactive" as const,
            username,
            prompt: (...[, , , prompts, finish]: KeyboardPrompt) => {
              finish(prompts.map(() => password));
            },
          },
        ]),
    ...(agent && !key ? [{ type: "agent" as const, username, agent }] : []),
  ];
  // Before the server has named any method, none is excluded.
  return (allowed: AuthenticationType[] | null, _partialSuccess, next) => {
    const index = methods.findIndex(({ type }) => !allowed || allowed.includes(wireName(type)) || type === "none");
    const [method] = index < 0 ? [] : methods.splice(index, 1);
    if (method) attempted.push(wireName(method.type));
    // The library's types forget the "no more" that its documentation names.
    (next as (method: AnyAuthMethod | false) => void)(method ?? false);
  };
}

type KeyboardPrompt = [string, string, string, { prompt: string }[], (answers: string[]) => void];

function wireName(type: AuthenticationType): AuthenticationType {
  return type === "agent" ? "publickey" : type;
}

function algorithmsOf(key: ParsedKey): ServerHostKeyAlgorithm[] {
  if (key.type === "ssh-rsa") return ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"];
  return [key.type];
}

function handshakeError(error: Error & { level?: string }, hostKeyMatched: boolean, attempted: string[]): string {
  // A server that has no key of the pinned kind does not have the pinned key.
  if (!hostKeyMatched || /no matching host key/i.test(error.message)) return "ssh: host key mismatch";
  if (error.level === "client-timeout") return "i/o timeout";
  if (error.level === "client-authentication") {
    return `ssh: unable to authenticate, attempted methods [${attempted.join(" ")}], no supported methods remain`;
  }
  return error.message;
}

function networkError(host: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ECONNREFUSED":
      return "connect: connection refused";
    case "ETIMEDOUT":
      return "connect: connection timed out";
    case "EHOSTUNREACH":
      return "connect: no route to host";
    case "ENETUNREACH":
      return "connect: network is unreachable";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `lookup ${host}: no such host`;
    default:
      return error.message;
  }
}

function joinHostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The parts of the library's client and channel that have no public name: a request for a variable that says whether it was granted. */
interface Internals {
  _chanMgr: { add(onOpen: (error: Error | undefined, channel: SessionChannel) => void): number };
  _protocol: {
    session(channel: number, window: number, maxPacket: number): void;
    env(channel: number, name: string, value: string, wantReply: boolean): void;
    exec(channel: number, command: string, wantReply: boolean): void;
  };
}

type SessionChannel = ClientChannel & {
  outgoing: { id: number };
  _callbacks: ((refused: boolean | Error) => void)[];
  subtype?: string;
};

const WINDOW_BYTES = 2 * 1024 * 1024;
const PACKET_BYTES = 32 * 1024;
/** A variable travels in one packet; servers hang up on one of more than 256 KiB. */
const LARGEST_VARIABLE_BYTES = 255 * 1024;

/** A session on a connection: variables first, then one command. */
export class Session {
  private constructor(
    private readonly protocol: Internals["_protocol"],
    private readonly channel: SessionChannel,
  ) {}

  /** Opens a session. */
  static open(client: Client): Promise<Session> {
    const { _chanMgr: channels, _protocol: protocol } = client as unknown as Internals;
    return new Promise((resolve, reject) => {
      client.once("close", () => {
        reject(new Error("EOF"));
      });
      const id = channels.add((error, channel) => {
        if (error) reject(error);
        else resolve(new Session(protocol, channel));
      });
      protocol.session(id, WINDOW_BYTES, PACKET_BYTES);
    });
  }

  /** Asks for a variable in the command's environment; whether the server allows it. */
  setEnvironment(name: string, value: string): Promise<boolean> {
    if (Buffer.byteLength(value) > LARGEST_VARIABLE_BYTES) return Promise.resolve(false);
    return this.request((id) => {
      this.protocol.env(id, name, value, true);
    });
  }

  /** Runs the command to its end. Throws when it fails. */
  async run(command: string, stdin: string, output: RunningCommand): Promise<void> {
    const { channel } = this;
    channel.on("data", (chunk: Buffer) => {
      output.stdout(chunk);
    });
    channel.stderr.on("data", (chunk: Buffer) => {
      output.stderr(chunk);
    });
    channel.on("error", () => undefined);
    const ended = new Promise<string | undefined>((resolve) => {
      let problem: string | undefined = "wait: remote command exited without exit status or exit signal";
      channel.on("exit", (code: number | null, signal?: string, _core?: boolean, description?: string) => {
        problem = exitError(code, signal, description);
      });
      channel.on("close", () => {
        resolve(problem);
      });
    });
    const started = await this.request((id) => {
      this.protocol.exec(id, command, true);
      channel.subtype = "exec";
    });
    if (!started) throw new Error("ssh: command failed to start");
    channel.end(stdin);
    const problem = await ended;
    if (problem !== undefined) throw new Error(problem);
  }

  private request(send: (id: number) => void): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.channel._callbacks.push((refused) => {
        if (refused instanceof Error) reject(refused);
        else resolve(!refused);
      });
      this.channel.once("close", () => {
        resolve(false);
      });
      send(this.channel.outgoing.id);
    });
  }
}

function exitError(code: number | null, signal?: string, description?: string): string | undefined {
  if (code === 0) return undefined;
  if (code !== null) return `Process exited with status ${code}`;
  const name = (signal ?? "").replace(/^SIG/, "");
  const number = Object.entries(constants.signals).find(([known]) => known === `SIG${name}`)?.[1] ?? 0;
  const reason = description ? `. Reason was: ${description}` : "";
  return `Process exited with status ${128 + number} from signal ${name}${reason}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
