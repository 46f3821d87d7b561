import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { isOpen } from "./ask";
import { REPOSITORY } from "./host";
import { run } from "./process";

/** The machine's side of the lab's network, where the hosts can reach it. */
const ADDRESS = "198.51.100.1";

/** A real S3 server (versitygw) over TLS, with one bucket, whose objects are files in a folder. */
export class S3Server {
  readonly bucket = "backups-of-the-tests";
  readonly accessKeyId = "the-machine";
  /** URL of the server, without the bucket. */
  readonly endpoint: string;

  private constructor(
    private readonly program: string,
    private readonly folder: string,
    private readonly port: number,
    /** The authority of its certificate (PEM). */
    readonly ca: string,
    private process?: ChildProcess,
  ) {
    this.endpoint = `https://${ADDRESS}:${port}`;
  }

  /** Starts one that lets in who has this secret key. */
  static async start(secret: string): Promise<S3Server> {
    const built = await run(join(REPOSITORY, "lab/s3/build.sh"), [], { timeoutSeconds: 600 });
    if (built.code !== 0) throw new Error(built.stderr);
    const folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), "s3-"));
    const made = await run(
      "openssl",
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
        ...["-subj", "/CN=S3 server of the tests", "-addext", `subjectAltName=IP:${ADDRESS}`],
        ...["-keyout", "server.key", "-out", "server.crt"],
      ],
      { cwd: folder, timeoutSeconds: 30 },
    );
    if (made.code !== 0) throw new Error(made.stderr);
    const ca = await readFile(join(folder, "server.crt"), "utf8");
    const server = new S3Server(built.stdout.trim(), folder, 10_000 + (process.pid % 10_000), ca);
    await mkdir(join(folder, "objects", server.bucket), { recursive: true });
    await mkdir(join(folder, "metadata"));
    await server.letIn(secret);
    return server;
  }

  /** From now on it lets in who has this secret key, and nobody else. */
  async letIn(secret: string): Promise<void> {
    await this.end();
    const file = (name: string) => join(this.folder, name);
    this.process = spawn(
      this.program,
      [
        ...["--port", `${ADDRESS}:${this.port}`, "--cert", file("server.crt"), "--key", file("server.key"), "--quiet"],
        ...["posix", "--sidecar", file("metadata"), file("objects")],
      ],
      { env: { ROOT_ACCESS_KEY: this.accessKeyId, ROOT_SECRET_KEY: secret }, stdio: "ignore" },
    );
    for (let attempt = 0; attempt < 100; attempt++) {
      if (await isOpen(ADDRESS, this.port)) return;
      await sleep(100);
    }
    throw new Error(`the S3 server does not listen on port ${this.port}`);
  }

  /** Names of the objects that begin with a folder, sorted, without it. */
  async list(folder: string): Promise<string[]> {
    return (await readdir(join(this.folder, "objects", this.bucket, folder))).sort();
  }

  /** What an object has in it. */
  async read(name: string): Promise<Buffer> {
    return await readFile(join(this.folder, "objects", this.bucket, name));
  }

  async stop(): Promise<void> {
    await this.end();
    await rm(this.folder, { recursive: true });
  }

  private async end(): Promise<void> {
    const child = this.process;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}
