/* Worker processes on one machine: that it is they who do the work, and what clients notice when their number changes or one dies. */
import { randomBytes } from "node:crypto";

import type { LabClient } from "../../lab/client/client";
import { ask } from "./ask";
import { Deployment, proveServing, type Outputs } from "./deployment";
import { Operator } from "./operator";
import { changed, failureOf } from "./stack";

jest.setTimeout(300_000);

const WORKERS = ["generic1", "generic2", "federation-sender1", "pusher1", "media1", "background1"];

let deployment: Deployment;
let outputs: Outputs;
let client: LabClient;
let operator: Operator;

beforeAll(async () => {
  operator = await Operator.create();
  deployment = await Deployment.prepare("wrk");
  // Every process then says which requests it answered.
  await deployment.stack.set({ "synapse.logLevel": "INFO", "workers.generic": 2, "workers.federationSender": 1 });
  await deployment.stack.set({ "workers.pusher": 1, "workers.media": 1, "workers.backgroundTasks": 1 });
  await deployment.stack.set({ "backup.recipient": operator.publicKey });
  await deployment.stack.up();
  outputs = await deployment.outputs();
  client = await deployment.client();
  await client.login();
});

afterAll(async () => {
  await client.close();
  await deployment.remove();
  await operator.remove();
});

it("run beside Synapse, and nothing of them can be reached from outside", async () => {
  const { host, stack } = deployment;
  expect((await stack.preview()).changes).toEqual({});
  expect(await units()).toEqual(["synapse", ...WORKERS.map((name) => `synapse-${name}`), "synapse-redis"].sort());
  const open = await host.run("ss -Hltn | awk '{ print $4 }' | grep -vE '^(127\\.0\\.0\\.1|\\[::1\\]):'");
  expect([...new Set(open.split("\n").map((address) => address.replace(/^.*:/, "")))].sort()).toEqual([
    "22",
    "443",
    "80",
  ]);
  expect(await host.run("redis-cli -p 16379 ping 2>&1")).toContain("NOAUTH");
  expect((await host.attempt("runuser -u nobody -- cat /etc/matrix-homeserver/synapse-redis.conf")).code).not.toBe(0);
});

it("answer clients in place of the main process: logins, rooms, messages, sync", async () => {
  await client.sendAndReadBack("by way of a worker");
  for (let round = 0; round < 10; round++) expect((await get("/_matrix/client/v3/sync?timeout=0")).status).toBe(200);
  for (const path of ["/login", "/createRoom", "/send/", "/messages", "/sync"]) {
    expect({ path, main: await answered("synapse", path) }).toEqual({ path, main: 0 });
    const [one, two] = [await answered("synapse-generic1", path), await answered("synapse-generic2", path)];
    expect(one + two).toBeGreaterThan(0);
    // A user stays with one.
    if (path === "/sync") expect(Math.min(one, two)).toBe(0);
  }
  expect((await get("/_matrix/client/versions")).headers["x-served-by"]).toBeUndefined();
});

it("take and give media", async () => {
  const content = randomBytes(50_000);
  const uri = await client.upload(content);
  expect(await client.download(uri)).toEqual(content);
  expect(await answered("synapse-media1", "/_matrix/media/v3/upload")).toBe(1);
  expect(await answered("synapse-media1", "/_matrix/client/v1/media/download")).toBe(1);
});

it("send to other servers", async () => {
  // No server is there: the attempt is what is looked for.
  const content = { messages: { "@somebody:127.0.0.1:9": { DEVICE: { text: "hello" } } } };
  await call("PUT", "/_matrix/client/v3/sendToDevice/test.hello/1", content);
  await journalHas("synapse-federation-sender1", "\\[127.0.0.1:9\\]");
  expect(await linesOf("synapse", "federationclient.*127.0.0.1:9")).toBe(0);
});

it("send push notifications", async () => {
  const { host, stack, serverName } = deployment;
  const pusher = {
    ...{ kind: "http", app_id: "test", app_display_name: "test", device_display_name: "test", pushkey: "key" },
    ...{ lang: "en", data: { url: "https://127.0.0.1:9/_matrix/push/v1/notify" } },
  };
  await call("POST", "/_matrix/client/v3/pushers/set", pusher);
  const password = randomBytes(12).toString("hex");
  await host.run(`cd /opt/synapse
    runuser -u synapse -- env/bin/register_new_matrix_user -c homeserver.yaml -u friend -p ${password} --no-admin http://127.0.0.1:8008`);
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "friend" }, password };
  const { access_token } = JSON.parse(await call("POST", "/_matrix/client/v3/login", login)) as {
    access_token: string;
  };
  const room = { preset: "trusted_private_chat", invite: [`@admin:${serverName}`] };
  await call("POST", "/_matrix/client/v3/createRoom", room, access_token);
  await journalHas("synapse-pusher1", "Failed to push data to @admin:");
  expect(await linesOf("synapse", "httppusher")).toBe(0);
  expect(stack.transcript).not.toContain(password);
});

it("do what is due by the clock", async () => {
  // Counts what people have not read yet, every half minute.
  await journalHas("synapse-background1", "Rotating notifications");
  expect(await linesOf("synapse", "Rotating notifications")).toBe(0);
});

it("are one more without a restart of any other, or a client that notices", async () => {
  const { stack } = deployment;
  const before = await processes();
  await stack.set({ "workers.generic": 3 });
  const preview = await stack.preview();
  expect(changed(preview)).toEqual([
    "health-client",
    "health-workers",
    "nginx-activation",
    "nginx-site",
    "worker-generic3",
    "worker-generic3-config",
    "worker-generic3-service",
    "worker-generic3-service-activation",
    "worker-generic3-service-unit",
  ]);
  expect(await failures(() => stack.up())).toEqual([]);
  expect(await processes()).toMatchObject(before);
  expect(await answered("synapse-generic3", "/")).toBeGreaterThan(0);
});

it("are one fewer likewise", async () => {
  const { stack } = deployment;
  const { "synapse-generic3": removed, ...others } = await processes();
  expect(removed).toBeGreaterThan(0);
  await stack.set({ "workers.generic": 2 });
  expect(await failures(() => stack.up())).toEqual([]);
  expect(await processes()).toEqual(others);
});

it("are started again when they die, while clients are served by others", async () => {
  const { host } = deployment;
  const before = await processes();
  const noticed = await failures(() =>
    host.run(`systemctl kill --signal KILL synapse-generic1 synapse-generic2
      sleep 1
      for n in 1 2; do
        for ((i = 0; i < 300; i++)); do curl -sf -o /dev/null http://127.0.0.1:810$n/health && break; sleep 0.2; done
      done`),
  );
  expect(noticed).toEqual([]);
  const after = await processes();
  for (const unit of ["synapse-generic1", "synapse-generic2"]) {
    expect(after[unit]).toBeGreaterThan(0);
    expect(after[unit]).not.toBe(before[unit]);
  }
  expect(after.synapse).toBe(before.synapse);
});

it("go back with the main process when that does not start with a new setting", async () => {
  const { stack } = deployment;
  // Synapse finds out only at its start that the file is missing.
  await stack.set({ "homeserver.app_service_config_files[0]": "/etc/no-such-bridge.yaml" });
  expect(await failureOf(stack.up())).toContain("the earlier ones were put back and are serving");
  await stack.unset("homeserver.app_service_config_files");
  await stack.up();
  expect(await units()).toEqual(["synapse", ...WORKERS.map((name) => `synapse-${name}`), "synapse-redis"].sort());
  await proveServing(client);
});

it("are stopped and started with Synapse", async () => {
  const { host } = deployment;
  await host.run("systemctl stop synapse");
  expect(await units()).toEqual(["synapse-redis"]);
  await host.run("systemctl start synapse");
  await allWork();
  await proveServing(client);
});

it("are there again after a restore, with what a backup had", async () => {
  const { host, stack } = deployment;
  const content = randomBytes(50_000);
  const uri = await client.upload(content);
  const before = await client.send("written before the backup");
  await host.run("systemctl start matrix-homeserver-backup");
  const after = await client.send("written after the backup");
  const { stdout } = await host.login("sudo -n bash -c 'base64 /var/backups/matrix-homeserver/*.tar.gpg'");
  const file = await operator.save("backup.tar.gpg", Buffer.from(stdout, "base64"));
  const restored = await stack.tool("restore.sh", { ...operator.env, FROM: file, FORCE: "yes" });
  expect({ ...restored, stderr: "" }).toMatchObject({ code: 0 });
  await allWork();
  expect(await client.read(before)).toBe("written before the backup");
  expect(await client.download(uri)).toEqual(content);
  expect(await host.sql(`SELECT count(*) FROM rooms WHERE room_id = '${after.roomId}'`)).toBe("0");
  await client.sendAndReadBack("by way of a worker, after a restore");
  expect((await stack.preview()).changes).toEqual({});
});

it("know each other by new secrets when these are made anew", async () => {
  const { host, stack } = deployment;
  const secrets = () =>
    host.run("cat /opt/synapse/secrets/redis_password /opt/synapse/secrets/worker_replication_secret");
  const [redis = "", replication = ""] = (await secrets()).split("\n");
  const before = await processes();
  await stack.set({ "rotate.workerSecrets": "2026-11-25" });
  await stack.up();
  const made = (await secrets()).split("\n");
  for (const [index, old] of [redis, replication].entries()) {
    expect(made[index]).toMatch(/^\w{50}$/);
    expect(made[index]).not.toBe(old);
  }
  expect(await host.run(`REDISCLI_AUTH=${redis} redis-cli -p 16379 ping 2>&1`)).toContain("NOAUTH");
  const anew = await processes();
  expect(Object.keys(anew).sort()).toEqual(Object.keys(before).sort());
  for (const [unit, process] of Object.entries(anew))
    expect({ unit, process }).not.toEqual({ unit, process: before[unit] });
  // What one process writes, another one tells of.
  await client.sendAndReadBack("by way of a worker, with new secrets");
});

it("go, and Redis with them, and the main process does all of it again", async () => {
  const { host, stack } = deployment;
  await stack.unset("workers");
  await stack.up();
  expect(await units()).toEqual(["synapse"]);
  expect(
    await host.run("find /etc/matrix-homeserver/workers /opt/synapse/secrets -type f -printf '%f\\n' | sort"),
  ).toBe(["form_secret", "macaroon_secret_key", "pgpass", "registration_shared_secret"].join("\n"));
  await proveServing(client);
  expect(await client.download(await client.upload(Buffer.from("by the main process")))).toHaveLength(19);
  expect((await stack.preview()).changes).toEqual({});
});

/** Waits until every worker that has a port for it calls itself healthy. */
async function allWork(): Promise<void> {
  await deployment.host.run(`for port in 8101 8102 8201 8301 8401 8501; do
      for ((i = 0; i < 300; i++)); do curl -sf -o /dev/null http://127.0.0.1:$port/health && break; sleep 0.2; done
      curl -sS -o /dev/null http://127.0.0.1:$port/health
    done`);
}

/** Units of Synapse's that run, without `.service`. */
async function units(): Promise<string[]> {
  return Object.keys(await processes()).sort();
}

/** The main process of each of them. */
async function processes(): Promise<Record<string, number>> {
  const lines = await deployment.host.run(`systemctl list-units --plain --no-legend --state active 'synapse*.service' |
    while read -r unit _; do echo "\${unit%.service} $(systemctl show --property MainPID --value "$unit")"; done`);
  return Object.fromEntries(
    lines.split("\n").map((line) => {
      const [unit = "", pid] = line.split(" ");
      return [unit, Number(pid)];
    }),
  );
}

/** How often a unit's journal has a line that the extended regular expression finds. */
async function linesOf(unit: string, pattern: string): Promise<number> {
  const script = `journalctl --sync; journalctl -q -o cat -u ${unit} | grep -cE -- '${pattern}' || true`;
  return Number(await deployment.host.run(script));
}

async function journalHas(unit: string, pattern: string): Promise<void> {
  for (let attempt = 0; attempt < 60; attempt++) {
    if ((await linesOf(unit, pattern)) > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`the journal of ${unit} has nothing like ${pattern}`);
}

/** How many requests with that in their path a process answered. */
async function answered(unit: string, path: string): Promise<number> {
  return await linesOf(unit, `Processed request: .*"[A-Z]+ [^ ]*${path}`);
}

async function get(path: string): ReturnType<typeof ask> {
  return await ask(`${outputs.baseUrl}${path}`, outputs.hostAddress, outputs.caCertificate, {
    Authorization: `Bearer ${client.accessToken ?? ""}`,
  });
}

/** What of the API the client at hand has no word for, asked on the machine itself. */
async function call(method: string, path: string, body: object, token = client.accessToken ?? ""): Promise<string> {
  const host = new URL(outputs.baseUrl).host;
  return await deployment.host.run(
    `curl -sSf -k --resolve ${host}:443:127.0.0.1 -X ${method} -H 'Authorization: Bearer ${token}' -d '${JSON.stringify(body)}' '${outputs.baseUrl}${path}'`,
  );
}

/** Asks every 50 ms while `action` goes on, for what workers answer and for what the main process does; what was not answered as it should be. */
async function failures(action: () => Promise<unknown>): Promise<string[]> {
  const paths = ["/_matrix/client/v3/sync?timeout=0", "/_matrix/client/v3/joined_rooms", "/_matrix/client/v3/devices"];
  const failed: string[] = [];
  let going = true;
  const isGoing = () => going;
  let asked = 0;
  const pending = new Set<Promise<void>>();
  const asking = (async () => {
    while (isGoing()) {
      const path = paths[asked++ % paths.length] ?? "";
      const question: Promise<void> = get(path)
        .then(
          ({ status }) => status,
          (reason: unknown) => String(reason),
        )
        .then((answer) => {
          if (answer !== 200) failed.push(`${path}: ${answer}`);
          pending.delete(question);
        });
      pending.add(question);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  try {
    await action();
  } finally {
    going = false;
    await asking;
    await Promise.all(pending);
  }
  expect(asked).toBeGreaterThan(20);
  return failed;
}
