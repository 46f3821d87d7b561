// the server's speed under load: this program's configuration, Synapse's default, the blog post's, and what single settings give
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { composeScript } from "../components/shell";
import { Deployment } from "../test/e2e/deployment";
import type { LabHost } from "../test/e2e/host";
import { interleaved, main, median, printTable, publish } from "./lib";
import { Crowd, type LoadResult } from "./libLoad";

/** How a host is made to be like a contender: see contenders/server/configure.sh. */
interface Contender {
  /** Synapse's configuration is the one that it generates, with this database. Default: this program's. */
  readonly generated?: "sqlite3" | "psycopg2";
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly nginx?: string;
  readonly postgresql?: string;
}

interface Result extends LoadResult {
  /** Milliseconds of processor time on the host that a message took: less in the way of what else the machine does. */
  readonly cpu: number;
}

const CLIENTS = 8;
const SECONDS = Number(process.env.SECONDS ?? 8);

// As it is mostly written: no connection is kept.
const PLAIN_NGINX =
  "/keepalive 32;/d; /Upgrade/d; /proxy_set_header Connection/d; s/proxy_http_version 1.1/proxy_http_version 1.0/";

/** In the only folder that Synapse may write to. */
const SOCKET = "/opt/synapse/media_store/synapse.sock";
const SOCKET_LISTENER = {
  path: SOCKET,
  mode: 0o666,
  type: "http",
  x_forwarded: true,
  resources: [{ names: ["client", "federation"], compress: false }],
};

/** This program's configuration, the two that one would have else, and what single settings give to this program's. */
const CONTENDERS: Readonly<Record<string, Contender>> = {
  "this program": {},
  "Synapse's default": { generated: "sqlite3" },
  "the blog post's": { generated: "psycopg2", nginx: PLAIN_NGINX },
  "no keep-alive": { nginx: PLAIN_NGINX },
  "Synapse by its socket": {
    settings: { listeners: [SOCKET_LISTENER] },
    nginx: `s|server 127.0.0.1:[0-9]*;|server unix:${SOCKET};|`,
  },
  "database by TCP": { settings: { database: { host: "127.0.0.1" } } },
  "database pool of 4": { settings: { database: { cp_min: 4, cp_max: 4 } } },
  "database pool of 20": { settings: { database: { cp_min: 20, cp_max: 20 } } },
  "more database memory": {
    postgresql: "shared_buffers = 512MB\neffective_cache_size = 1536MB\nwork_mem = 8MB\nmax_wal_size = 4GB",
  },
  "synchronous_commit off": { postgresql: "synchronous_commit = off" },
  "caches of 2.0": { settings: { caches: { global_factor: 2.0 } } },
  gzip: {
    nginx: "s|proxy_http_version 1.1;|&\\n    gzip on;\\n    gzip_proxied any;\\n    gzip_types application/json;|",
  },
};

/** Names of those that are to be measured, separated by commas. */
const ONLY = process.env.ONLY?.split(",") ?? Object.keys(CONTENDERS);
const chosen = Object.fromEntries(Object.entries(CONTENDERS).filter(([name]) => ONLY.includes(name)));

main(async () => {
  const deployment = await Deployment.prepare("server");
  const { host, stack } = deployment;
  try {
    const unlimited = Object.fromEntries(
      ["rc_message", "rc_registration", "rc_login.address"].flatMap((limit) => [
        [`homeserver.${limit}.per_second`, 10000],
        [`homeserver.${limit}.burst_count`, 10000],
      ]),
    );
    await stack.set({
      ...unlimited,
      "homeserver.enable_registration": true,
      "homeserver.enable_registration_without_verification": true,
    });
    await stack.up();
    const { baseUrl, hostAddress: address, caCertificate: ca } = await deployment.outputs();
    const results: Record<string, Result[]> = {};
    const rounds = await interleaved(
      Object.fromEntries(
        Object.entries(chosen).map(([name, { generated = "", settings = {}, nginx = "", postgresql = "" }]) => [
          name,
          async () => {
            const script = readFileSync(join(__dirname, "contenders/server/configure.sh"), "utf8");
            await host.run(
              composeScript(script, {
                GENERATED: generated,
                SETTINGS: JSON.stringify(settings),
                NGINX: nginx,
                POSTGRESQL: postgresql,
              }),
            );
            const crowd = await Crowd.gather({ baseUrl, address, ca }, CLIENTS);
            // The first requests fill the caches.
            await crowd.load(2);
            const before = await cpuMilliseconds(host);
            const result = await crowd.load(SECONDS);
            const cpu = ((await cpuMilliseconds(host)) - before) / (result.perSecond * SECONDS);
            await crowd.leave();
            (results[name] ??= []).push({ ...result, cpu });
            return result.perSecond;
          },
        ]),
      ),
    );
    publish({
      what: "server",
      unit: "messages/s",
      rounds,
      comparedWith: "this program",
      notes: { clients: CLIENTS, seconds: SECONDS, results },
    });
    const middle = (name: string, value: (result: Result) => number) =>
      median((results[name] ?? []).map(value)).toFixed(0);
    printTable([
      ["ms, medians of the rounds", "send p50", "send p99", "fan-out p50", "fan-out p99", "CPU a message"],
      ...Object.keys(chosen).map((name) => [
        name,
        middle(name, ({ send }) => send.p50),
        middle(name, ({ send }) => send.p99),
        middle(name, ({ fanOut }) => fanOut.p50),
        middle(name, ({ fanOut }) => fanOut.p99),
        middle(name, ({ cpu }) => cpu),
      ]),
    ]);
  } finally {
    await deployment.remove();
  }
});

/** Processor time of all that runs on the host, since it started. */
async function cpuMilliseconds(host: LabHost): Promise<number> {
  const ticks = await host.run(
    "{ cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/.*) //' | awk '{ sum += $12 + $13 + $14 + $15 } END { print sum }'",
  );
  return Number(ticks) * 10;
}
