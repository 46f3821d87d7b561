/*
 * Another major version of PostgreSQL: an old Synapse on an old PostgreSQL, whose data are brought to a newer one by the command for
 * it, and which a new Synapse then takes over. In the end all of it is removed for good.
 */
import { randomBytes } from "node:crypto";

import type { LabClient, SentMessage } from "../../lab/client/client";
import { Deployment } from "./deployment";
import { Operator } from "./operator";
import type { Outcome } from "./process";
import { changed, failureOf } from "./stack";

jest.setTimeout(600_000);

const OLD = "1.141.0";
const NEW = "1.163.2";
const MEDIA = randomBytes(1_000_000);
const WORK = "/var/lib/matrix-homeserver/postgresql-upgrade";
const KEPT = "/var/lib/pgsql/data-13.before-matrix-homeserver";
const BACKUPS = "/var/backups/matrix-homeserver";
const UNITS = "synapse synapse-generic1 synapse-redis";

let deployment: Deployment;
let operator: Operator;
let client: LabClient;
let message: SentMessage;
let media: string;

beforeAll(async () => {
  operator = await Operator.create();
  deployment = await Deployment.prepare("pg", { synapse: [OLD, NEW] });
  await deployment.stack.set({
    "synapse.version": OLD,
    "host.postgresqlVersion": 13,
    "backup.recipient": operator.publicKey,
  });
  await deployment.stack.up();
  client = await deployment.client();
  await client.login();
  message = await client.send("written in PostgreSQL 13");
  media = await client.upload(MEDIA);
});

afterAll(async () => {
  // Not client.close(), which would log out: there is no server any more.
  await Promise.all([operator.remove(), deployment.remove()]);
});

async function upgrade(env: Record<string, string> = {}): Promise<Outcome & { said: string }> {
  const outcome = await deployment.stack.tool("postgresql-upgrade.sh", { TO: "15", ...env });
  return { ...outcome, said: outcome.stdout + outcome.stderr };
}

const version = () => deployment.host.sql("SHOW server_version", "postgres");

/** The session of before goes on, and finds what it wrote. */
async function expectEverything(): Promise<void> {
  expect(await client.read(message)).toBe("written in PostgreSQL 13");
  expect((await client.download(media)).equals(MEDIA)).toBe(true);
  await client.send("still here");
}

it("is what a newer Synapse asks for, by the command's name", async () => {
  expect(await version()).toMatch(/^13\./);
  expect(await deployment.host.run("rpm -q postgresql-server")).toMatch(/^postgresql-server-13\./);
  await deployment.stack.set({ "synapse.version": NEW });
  expect(await failureOf(deployment.stack.up())).toContain(
    `or upgrade that PostgreSQL first with 'make postgresql-upgrade STACK=${deployment.stack.name} TO=15'`,
  );
  await deployment.stack.set({ "synapse.version": OLD });
  await expectEverything();
});

it("is refused where the stack alone asks for it, and where there is none such", async () => {
  await deployment.stack.set({ "host.postgresqlVersion": 15 });
  expect(await failureOf(deployment.stack.up())).toContain(
    `run 'make postgresql-upgrade STACK=${deployment.stack.name} TO=15', which takes the data along`,
  );
  await deployment.stack.set({ "host.postgresqlVersion": 13 });
  const { synapse } = await deployment.host.processes();
  expect((await upgrade({ TO: "16" })).said).toContain(
    "error: the machine's repositories have PostgreSQL 13 15, and not 16",
  );
  expect((await upgrade({ TO: "12" })).said).toContain("error: PostgreSQL 13 has the data, and TO is 12");
  expect((await deployment.host.processes()).synapse).toBe(synapse);
});

it("leaves the old one serving, with all it had, when it fails", async () => {
  // The function that it is made of takes other types since PostgreSQL 14, so that it can be saved and not restored.
  await deployment.host.sql(
    "CREATE AGGREGATE public.list(anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}')",
  );
  const { code, said } = await upgrade();
  await deployment.host.sql("DROP AGGREGATE public.list(anyelement)");
  expect(code).not.toBe(0);
  expect(said).toContain("function array_append(anyarray, anyelement) does not exist");
  expect(said).toContain(
    "error: PostgreSQL 15 did not take the data (see above): PostgreSQL 13 was put back with its data, and serves again",
  );
  expect(await version()).toMatch(/^13\./);
  expect(await deployment.host.run("rpm -q postgresql-server")).toMatch(/^postgresql-server-13\./);
  await expectEverything();
});

it("goes through after it was cut off: every row is there, and the old data are kept", async () => {
  const cutOff = upgrade();
  await deployment.host.run(`for i in {1..1200}; do
  if [[ -s ${KEPT}/PG_VERSION ]]; then pkill -9 -f '^bash ${WORK}.sh'; exit 0; fi
  sleep 0.05
done
exit 1`);
  expect((await cutOff).code).not.toBe(0);
  await deployment.host.run("while pgrep -x dnf; do sleep 0.5; done");
  expect((await deployment.host.attempt("systemctl is-active synapse")).code).not.toBe(0);

  const { code, said } = await upgrade();
  expect({ code, said }).toEqual({
    code: 0,
    said: expect.stringMatching(
      /PostgreSQL 15 has all data: \d+ rows in \d+ tables, equal to what PostgreSQL 13 had/,
    ) as string,
  });
  expect(said).toContain("an earlier run was cut off: putting PostgreSQL 13 back first");
  expect(await version()).toMatch(/^15\./);
  expect(await deployment.host.run(`cat ${KEPT}/PG_VERSION`)).toBe("13");
  expect(
    await deployment.host.sql("SELECT datcollate, datctype, datconnlimit FROM pg_database WHERE datname = 'synapse'"),
  ).toBe("C|C|-1");
  expect(await deployment.host.run("ls /var/lib/matrix-homeserver")).not.toMatch(/^postgresql-upgrade$/m);
  await expectEverything();
});

it("is what the stack says then: the preview has what looks at it once more, and nothing is restarted", async () => {
  const processes = await deployment.host.processes();
  const touched = ["database-packages", "host-facts", "host-repositories"];
  expect(changed(await deployment.stack.preview())).toEqual(touched);
  expect(changed(await deployment.stack.up())).toEqual(touched);
  expect(await deployment.host.processes()).toEqual(processes);
  expect(changed(await deployment.stack.preview())).toEqual([]);
  expect((await upgrade()).said).toContain("PostgreSQL 15 has the data already");
});

it("lets the newest Synapse in, and its worker, and is saved by the backups", async () => {
  await deployment.stack.set({ "synapse.version": NEW, "workers.generic": 1 });
  await deployment.stack.up();
  await expectEverything();
  await deployment.host.run("systemctl start matrix-homeserver-backup");
  expect(await deployment.host.run(`ls ${BACKUPS}`)).toMatch(/\.tar\.gpg$/);
});

describe("pulumi destroy with purge", () => {
  it("is announced by the preview, and by the update that it has to be set with", async () => {
    await deployment.stack.set({ purge: true });
    const preview = await deployment.stack.preview();
    expect(changed(preview)).toEqual(["last-backup", "last-backup-made", "remains-data"]);
    expect(preview.messages).toContain("pulumi destroy removes the database, the media and the signing key for good");
    await deployment.stack.up();
    expect((await deployment.outputs()).nextSteps).toContain(
      "Warning: purge is true: pulumi destroy removes the database",
    );
    await expectEverything();
  });

  it("can be taken back, which changes nothing for anybody", async () => {
    const processes = await deployment.host.processes();
    await deployment.stack.set({ purge: false });
    await deployment.stack.up();
    expect(await deployment.host.processes()).toEqual(processes);
    await deployment.stack.set({ purge: true });
    await deployment.stack.up();
  });

  it("removes nothing when the last backup cannot be made", async () => {
    await deployment.host.run(`mv ${BACKUPS} ${BACKUPS}.away; touch ${BACKUPS}`);
    const messages = await failureOf(deployment.stack.destroy());
    await deployment.host.run(`rm ${BACKUPS}; mv ${BACKUPS}.away ${BACKUPS}`);
    expect(messages).toContain("error: the last backup could not be made (see above), so nothing was removed");
    // What runs beside Synapse is started with it, and a moment later.
    await deployment.host.run(
      `for i in {1..300}; do [[ $(systemctl is-active ${UNITS} | sort -u) != active ]] || exit 0; sleep 0.2; done; exit 1`,
    );
    await expectEverything();
  });

  it("removes every trace of the data but the backups, the last one with what was written last", async () => {
    const { host, stack, serverName } = deployment;
    await client.send("the last words");
    const rows = await host.sql("SELECT count(*) FROM events");
    await stack.destroy();
    expect(
      await host.run(
        "ls -d /opt/synapse /var/lib/matrix-homeserver /etc/matrix-homeserver /etc/pki/matrix-homeserver /var/lib/pgsql/data-* 2>/dev/null || true; ls -A /var/lib/pgsql/data; getent passwd synapse || true; getent group synapse || true",
      ),
    ).toBe("");
    expect((await host.attempt("systemctl is-active postgresql")).code).not.toBe(0);

    const backups = (await host.run(`ls ${BACKUPS}`)).split("\n");
    expect(backups).toHaveLength(2);
    const { stdout } = await host.login(`sudo -n base64 ${BACKUPS}/${backups.at(-1) ?? ""}`);
    const file = await operator.save("last.tar.gpg", Buffer.from(stdout, "base64"));
    await operator.bash(`gpg --quiet --decrypt ${file} | tar -x`);
    expect((await operator.bash("sed -n s/^server_name=//p manifest")).trim()).toBe(serverName);
    const dump = await operator.bash("base64 database.dump");
    const { stdout: events } = await host.login(
      "base64 -d | pg_restore --data-only --table=events --file=- | sed -n '/^COPY /,/^\\\\\\.$/p'",
      dump,
    );
    expect(events.trim().split("\n").length - 2).toBe(Number(rows));
  });
});
