/*
 * Updates that are cut off in the middle of a step: the step is killed, or its connection, or the machine reboots. What served goes on
 * serving, and the next update comes to the end without anybody's help.
 */
import { ask } from "../e2e/ask";
import { Deployment, outage } from "../e2e/deployment";
import { Operator } from "../e2e/operator";
import { changed, failureOf, nameOf } from "../e2e/stack";

jest.setTimeout(600_000);

const OLDER = "1.162.0";
const NEWER = "1.163.2";

let deployment: Deployment;
let operator: Operator;

beforeAll(async () => {
  operator = await Operator.create();
  deployment = await Deployment.prepare("cut", { synapse: [OLDER, NEWER] });
  await deployment.stack.set({
    "synapse.version": OLDER,
    "backup.recipient": operator.publicKey,
    "homeserver.rc_login.account.burst_count": 100,
    "homeserver.rc_login.address.burst_count": 100,
  });
});

afterAll(async () => {
  await (operator as Operator | undefined)?.remove();
  await (deployment as Deployment | undefined)?.remove();
});

/** That a client is served, and that the stack has nothing left to do. */
async function isWhole(): Promise<void> {
  await deployment.proveServing();
  expect(changed(await deployment.stack.preview())).toEqual([]);
}

/** Bash for the host: waits for the moment at which `condition` is true, and fails when it does not come. */
const when = (condition: string) => `
for _ in {1..6000}; do if ${condition}; then break; fi; sleep 0.02; done
${condition}`;

/** Bash for the host: kills a step of the update with all that belongs to it. */
const killStep = (step: string) => `
leader=$(cat /run/lock/matrix-homeserver-step-${step})
kill -KILL -- -"$(ps -o pgid= -p "$leader" | tr -d ' ')"`;

/** What an update says that is struck down by a script on the host. */
async function saidWhen(script: string): Promise<string> {
  const [messages] = await Promise.all([failureOf(deployment.stack.up()), deployment.host.run(script, 200)]);
  return messages;
}

/** The same, with clients being served all the while. */
async function saidWhileServing(script: string): Promise<string> {
  let messages = "";
  const seconds = await outage(await deployment.outputs(), async () => {
    messages = await saidWhen(script);
  });
  expect(seconds).toBe(0);
  await deployment.proveServing();
  return messages;
}

const UV = "'uv .*pip install.*synapse-requirements'";
const INSTALLING = `pgrep -f ${UV} >/dev/null`;

describe("a first deployment", () => {
  it("whose initdb is killed says so", async () => {
    expect(await saidWhen(`${when("pgrep -x initdb >/dev/null")}\npkill -KILL -x initdb`)).toContain(
      "error: postgresql-setup could not make the cluster: see /var/lib/pgsql/initdb_postgresql.log",
    );
    expect(await deployment.host.run("ls /var/lib/pgsql/.initdb-unfinished")).not.toBe("");
  });

  it("makes the cluster anew, and after Ctrl-C needs no more than to be run again", async () => {
    const { interrupted, update } = await deployment.stack.upInterrupted(
      "SIGINT",
      ({ resOutputsEvent }) => nameOf(resOutputsEvent?.metadata.urn ?? "") === "database-cluster",
    );
    expect(interrupted).toBe(true);
    expect(update.messages).toContain("error: update canceled");
    await deployment.stack.up();
    expect(await deployment.release()).toBe(OLDER);
    await isWhole();
  });
});

describe("a backup", () => {
  const BACKUP = "matrix-homeserver-backup";
  const asleep = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
  const psql = (query: string) => `runuser -u postgres -- psql -qAtd synapse -c "${query}"`;

  it("whose pg_dump is killed says so, and a preview warns of it", async () => {
    // A table that is locked holds pg_dump up.
    await deployment.host.run(`
${psql("BEGIN; LOCK TABLE erased_users; SELECT pg_sleep(120)")} &
${when(`${psql(`SELECT 'locked' ${asleep}`)} | grep -q locked`)}
systemctl start --no-block ${BACKUP}
${when("pgrep -x pg_dump >/dev/null")}
pkill -KILL -x pg_dump
${psql(`SELECT pg_terminate_backend(pid) ${asleep}`)}
wait || true
${when(`[[ $(systemctl is-active ${BACKUP}) == failed ]]`)}`);
    expect((await deployment.stack.preview()).messages).toMatch(
      /warning: the last backup failed, .*pg_dump could not save the database/,
    );
  });

  it("that comes next is whole", async () => {
    const { host } = deployment;
    await host.run(`systemctl start ${BACKUP}`);
    expect(await host.run("find /var/backups/matrix-homeserver -mindepth 1 -printf '%f '")).toMatch(
      /^\S+Z\.tar\.gpg $/,
    );
    await isWhole();
  });
});

describe("nginx's reload", () => {
  const SLOW = "/run/systemd/system/nginx.service.d/slow.conf";

  it("that is killed leaves nginx serving, and is done over", async () => {
    const { host, stack } = deployment;
    await host.run(`mkdir -p $(dirname ${SLOW})
printf '[Service]\\nExecReload=\\nExecReload=/bin/sleep 1\\nExecReload=/bin/kill -s HUP $MAINPID\\n' >${SLOW}
systemctl daemon-reload`);
    try {
      await stack.set({ "nginx.hsts": true });
      const said = await saidWhileServing(
        `${when("pgrep -f 'systemctl reload nginx' >/dev/null")}${killStep("nginx")}`,
      );
      expect(said).toContain("nginx-activation: error: Process exited with status 137 from signal KILL");
    } finally {
      await host.run(`rm ${SLOW}; systemctl daemon-reload`);
    }
    expect(changed(await stack.up())).toContain("nginx-activation");
    const { baseUrl, hostAddress, caCertificate } = await deployment.outputs();
    const { headers } = await ask(`${baseUrl}/_matrix/client/versions`, hostAddress, caCertificate);
    expect(headers["strict-transport-security"]).toBeDefined();
    await isWhole();
  });
});

describe("an upgrade", () => {
  /** Which environment of the newer release there is. */
  const environment = `stat -c %i /opt/synapse/releases/${NEWER}-*/pyvenv.cfg`;
  let begun: string;

  beforeAll(async () => {
    await deployment.stack.set({ "synapse.version": NEWER });
  });

  it("whose installation is killed says so, and the older one serves", async () => {
    const half = `{ ${INSTALLING} && compgen -G '/opt/synapse/releases/${NEWER}-*/lib/python3*/site-packages/[a-z]*' >/dev/null; }`;
    expect(await saidWhileServing(`${when(half)}\npkill -KILL -f ${UV}`)).toMatch(
      /it was killed: when the machine ran out of memory, .*\n.*error: uv could not install Synapse 1\.163\.2: /,
    );
    expect(await deployment.release()).toBe(OLDER);
  });

  it("whose connection is cut goes on on the machine, with the older one serving", async () => {
    const messages = await saidWhileServing(`${when(INSTALLING)}
pid=$(cat /run/lock/matrix-homeserver-step-python-venv)
until [[ $(cat /proc/$pid/comm) == sshd ]]; do pid=$(ps -o ppid= -p $pid | tr -d ' '); done
kill -KILL $pid`);
    expect(messages).toContain(
      "synapse-install: error: wait: remote command exited without exit status or exit signal",
    );
    expect(await deployment.release()).toBe(OLDER);
    begun = await deployment.host.run(environment);
  });

  it("that is killed between the new files and the restart leaves the older one serving, and is done over", async () => {
    const said = await saidWhileServing(
      `${when(`[[ $(readlink /opt/synapse/env) == */${NEWER}-* ]]`)}${killStep("activate-service")}`,
    );
    expect(said).toContain("synapse-service-activation: error: Process exited with status 137 from signal KILL");
    // What the cut connection had left at work was not begun anew.
    expect(await deployment.host.run(environment)).toBe(begun);
    expect(await deployment.release()).toBe(OLDER);
    await deployment.stack.up();
    expect(await deployment.release()).toBe(NEWER);
    await isWhole();
  });

  it("that is taken back while the machine reboots serves afterwards, and comes to its end with the next update", async () => {
    const { host, stack } = deployment;
    await stack.set({ "synapse.version": OLDER });
    // Until the reboot.
    await host.run(`mkdir -p /run/systemd/system/synapse.service.d
printf '[Service]\\nExecStartPre=/bin/sleep 10\\n' >/run/systemd/system/synapse.service.d/slow.conf`);
    const [messages] = await Promise.all([
      failureOf(stack.up()),
      host.run(when("[[ $(systemctl is-active synapse) == activating ]]"), 200).then(() => host.reboot()),
    ]);
    expect(messages).toContain(
      "synapse-service-activation: error: wait: remote command exited without exit status or exit signal",
    );
    await host.run(when("curl -sf -o /dev/null http://127.0.0.1:8008/health && systemctl is-active -q nginx"), 200);
    await deployment.proveServing();
    await stack.up();
    expect(await deployment.release()).toBe(OLDER);
    await isWhole();
  });
});
