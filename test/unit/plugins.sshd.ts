import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { Server, utils, type Connection, type ParsedKey, type Session } from "ssh2";

/** An SSH server on the loopback address that runs commands with bash in one directory, and what clients need to know of it. */
export interface SshServer {
  readonly port: number;
  /** The public host key in `authorized_keys` format. */
  readonly hostKey: string;
  /** The private key that may log in as root. */
  readonly clientKey: string;
  /** Connections that were let in so far. */
  readonly logins: () => number;
  readonly stop: () => Promise<void>;
}

/** What the server is made to do. */
export interface SshServerOptions {
  /** Where commands run. */
  readonly directory: string;
  /** The variables that a client may set, as in sshd's AcceptEnv. */
  readonly acceptEnv?: string[];
  /** Lets root in with this password as well. */
  readonly password?: string;
  /** The keys that may log in. Default: made for it. */
  readonly clientKeys?: { readonly private: string; readonly public: string };
  /** Where it listens. Default: any free port. */
  readonly port?: number;
}

/** Starts a server with keys made for it. It serves root alone, over sessions and forwarded connections. */
export async function startSshServer(options: SshServerOptions): Promise<SshServer> {
  const hostKeys = utils.generateKeyPairSync("ed25519");
  const clientKeys = options.clientKeys ?? utils.generateKeyPairSync("ed25519");
  const clientKey = utils.parseKey(clientKeys.public);
  if (clientKey instanceof Error) throw clientKey;
  const connections = new Set<Connection>();
  let logins = 0;

  const server = new Server({ hostKeys: [hostKeys.private] }, (connection) => {
    connections.add(connection);
    connection.on("close", () => connections.delete(connection));
    // A client that hangs up is no failure of the server.
    connection.on("error", () => undefined);
    authenticate(connection, clientKey, options.password);
    connection.on("ready", () => {
      logins++;
      connection.on("session", (accept) => {
        serveSession(accept(), options);
      });
      connection.on("tcpip", (accept, _reject, info) => {
        const channel = accept();
        const socket = connect(info.destPort, info.destIP);
        socket.on("error", () => {
          channel.close();
        });
        channel.on("error", () => socket.destroy());
        channel.pipe(socket).pipe(channel);
      });
    });
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    hostKey: hostKeys.public,
    clientKey: clientKeys.private,
    logins: () => logins,
    stop: async () => {
      for (const connection of connections) connection.end();
      await new Promise((done) => server.close(done));
    },
  };
}

/** A port of the loopback address on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** A port that accepts connections and never says a word. */
export async function silentPort(): Promise<{ port: number; attempts: () => number; stop: () => Promise<void> }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on("error", () => undefined))).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    attempts: () => sockets.length,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

function authenticate(connection: Connection, clientKey: ParsedKey, password: string | undefined): void {
  const methods = password === undefined ? ["publickey" as const] : ["publickey" as const, "password" as const];
  connection.on("authentication", (context) => {
    const right =
      context.username === "root" &&
      ((context.method === "password" && context.password === password) ||
        (context.method === "publickey" &&
          context.key.data.equals(clientKey.getPublicSSH()) &&
          (!context.signature || !context.blob || clientKey.verify(context.blob, context.signature))));
    if (right) context.accept();
    else context.reject(methods);
  });
}

function serveSession(session: Session, { directory, acceptEnv = [] }: SshServerOptions): void {
  const environment: NodeJS.ProcessEnv = { PATH: process.env.PATH };
  session.on("env", (accept, reject, { key, val }) => {
    // Neither is given to the handler when the client asked for no reply.
    if (!acceptEnv.includes(key)) {
      (reject as typeof reject | undefined)?.();
      return;
    }
    environment[key] = val;
    (accept as typeof accept | undefined)?.();
  });
  session.on("exec", (accept, _reject, { command }) => {
    const channel = accept();
    // Without --norc, bash takes a socket as its input for a remote shell's and reads the user's own start-up file.
    const child = spawn("/bin/bash", ["--norc", "-c", command], { cwd: directory, env: environment, detached: true });
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    child.stdin.on("error", () => undefined);
    channel.pipe(child.stdin);
    channel.on("error", () => undefined);
    channel.on("close", () => {
      if (child.exitCode === null && child.pid !== undefined) killGroup(child.pid);
    });
    child.on("close", (code, signal) => {
      if (code === null) channel.exit(signal ?? "KILL", false, "");
      else channel.exit(code);
      channel.end();
    });
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended in the meantime.
  }
}
