import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, fetch } from "undici";

import { isOpen } from "./ask";
import { REPOSITORY } from "./host";
import { run } from "./process";

/** The machine's side of the lab's network, where the hosts can reach it. */
const ADDRESS = "198.51.100.1";

/** A real ACME server (pebble) whose name server says that every name is one host's. */
export class AcmeServer {
  private constructor(
    /** URL of the directory. */
    readonly directory: string,
    /** The authority of the server's own certificate, and the one of what it issues (PEM). */
    readonly ca: string,
    private readonly folder: string,
    private readonly processes: readonly ChildProcess[],
  ) {}

  /** Starts one that finds every name at `hostAddress`. */
  static async start(hostAddress: string): Promise<AcmeServer> {
    const pebble = (await run(join(REPOSITORY, "lab/acme/pebble.sh"), [], { timeoutSeconds: 300 })).stdout.trim();
    const folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), "acme-"));
    const base = 20_000 + (process.pid % 10_000) * 4;
    const [acme, management, dns, dnsManagement] = [base, base + 1, base + 2, base + 3] as const;
    const made = await run(
      "openssl",
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
        ...["-subj", "/CN=ACME server of the tests", "-addext", `subjectAltName=IP:${ADDRESS}`],
        ...["-keyout", "server.key", "-out", "server.crt"],
      ],
      { cwd: folder, timeoutSeconds: 30 },
    );
    if (made.code !== 0) throw new Error(made.stderr);
    const config = {
      pebble: {
        listenAddress: `${ADDRESS}:${acme}`,
        managementListenAddress: `${ADDRESS}:${management}`,
        certificate: join(folder, "server.crt"),
        privateKey: join(folder, "server.key"),
        httpPort: 80,
        tlsPort: 443,
      },
    };
    await writeFile(join(folder, "config.json"), JSON.stringify(config));

    const nowhere = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
    const processes = [
      start(join(pebble, "pebble-challtestsrv"), [
        ...["-dns01", `${ADDRESS}:${dns}`, "-management", `${ADDRESS}:${dnsManagement}`, ...nowhere],
        ...["-defaultIPv4", hostAddress, "-defaultIPv6", ""],
      ]),
      start(join(pebble, "pebble"), ["-config", join(folder, "config.json"), "-dnsserver", `${ADDRESS}:${dns}`]),
    ];
    await Promise.all([acme, management, dnsManagement].map(answers));
    const own = await readFile(join(folder, "server.crt"), "utf8");
    const dispatcher = new Agent({ connect: { ca: own } });
    const root = await (await fetch(`https://${ADDRESS}:${management}/roots/0`, { dispatcher })).text();
    await dispatcher.close();
    return new AcmeServer(`https://${ADDRESS}:${acme}/dir`, own + root, folder, processes);
  }

  /** Ends it. */
  async stop(): Promise<void> {
    await Promise.all(
      this.processes.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }),
    );
    await rm(this.folder, { recursive: true });
  }
}

function start(program: string, args: readonly string[]): ChildProcess {
  // Pebble would wait some seconds before it looks, and refuse some requests at random, to test its clients.
  const env = { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0", PEBBLE_AUTHZREUSE: "0" };
  return spawn(program, args, { env, stdio: "ignore" });
}

async function answers(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await isOpen(ADDRESS, port)) return;
    await sleep(100);
  }
  throw new Error(`the ACME server does not listen on port ${port}`);
}
