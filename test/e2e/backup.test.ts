/*
 * A backup as the machine makes it by itself and copies it to a store, and what it is for: the machine is destroyed, another one is
 * deployed from the same stack, the backup is restored onto it, and a client finds everything that it had.
 */
import { createHash, randomBytes } from "node:crypto";

import type { SentMessage } from "../../lab/client/client";
import { ask } from "./ask";
import { Deployment } from "./deployment";
import { LabHost } from "./host";
import { Operator } from "./operator";
import { S3Server } from "./s3";
import { filesWith, found, startWatching, stopWatching } from "./secrets";
import { changed, failureOf } from "./stack";

jest.setTimeout(400_000);

const DIRECTORY = "/var/backups/matrix-homeserver";
const MEDIA = randomBytes(5_000_000);
const STORE_SECRET = "tHe+secret/of_the=store";
const CONFIGURATION = "/etc/matrix-homeserver/backup-store.cfg";
const PROGRAM = "/usr/local/libexec/matrix-homeserver/restore";

let deployment: Deployment;
let operator: Operator;
let store: S3Server;
let second: LabHost | undefined;
let message: SentMessage;
let media: string;
let accessToken: string;
let signingKey: string;
let keyId: string;
/** Where the operator keeps the last backup. */
let file: string;

beforeAll(async () => {
  operator = await Operator.create();
  deployment = await Deployment.prepare("bka");
  const { stack, host } = deployment;
  store = await S3Server.start(STORE_SECRET);
  await stack.set({
    "backup.recipient": operator.publicKey,
    "backup.keep": 2,
    "backup.s3.endpoint": store.endpoint,
    "backup.s3.bucket": store.bucket,
    "backup.s3.prefix": "of/chat",
    "backup.s3.accessKeyId": store.accessKeyId,
    "backup.s3.ca": store.ca,
    "homeserver.rc_login.account.burst_count": 100,
  });
  await stack.setSecret("backup.s3.secretAccessKey", STORE_SECRET);
  // A disk of its own, which can be filled without harm to the rest.
  await host.run(`install -d -m 0700 ${DIRECTORY}; mount -t tmpfs -o size=64m tmpfs ${DIRECTORY}`);
  await stack.up();
  signingKey = await host.run(`sha256sum </opt/synapse/${deployment.serverName}.signing.key`);
  keyId = await publishedKey();
  const client = await deployment.client();
  await client.login();
  message = await client.send("written on the first machine");
  media = await client.upload(MEDIA);
  // Not client.close(), which would end the session: it is to live on.
  accessToken = client.accessToken ?? "";
});

afterAll(async () => {
  await Promise.all([second?.remove(), operator.remove(), store.stop(), deployment.remove()]);
});

async function publishedKey(): Promise<string> {
  const { hostAddress, caCertificate, baseUrl } = await deployment.outputs();
  const { body } = await ask(`${baseUrl}/_matrix/key/v2/server`, hostAddress, caCertificate);
  return JSON.stringify((JSON.parse(body) as { verify_keys: unknown }).verify_keys);
}

/** Makes a backup as the timer would; how it ended and what it said. */
async function backUp(): Promise<{ code: number; said: string; seconds: number }> {
  const started = Date.now();
  const { code } = await deployment.host.attempt("systemctl start matrix-homeserver-backup");
  const seconds = (Date.now() - started) / 1000;
  const said = await deployment.host.run(
    "journalctl --sync; journalctl -q -o cat -u matrix-homeserver-backup _SYSTEMD_INVOCATION_ID=$(systemctl show --value --property InvocationID matrix-homeserver-backup)",
  );
  return { code, said, seconds };
}

async function backups(): Promise<string[]> {
  return (await deployment.host.run(`ls -A ${DIRECTORY}`)).split("\n").filter((name) => name !== "filler");
}

async function status(): Promise<string> {
  return await deployment.host.run("cat /etc/matrix-homeserver/last-backup");
}

async function restore(
  from: string,
  env: Record<string, string> = {},
): Promise<{ code: number; said: string; seconds: number }> {
  const started = Date.now();
  const { code, stdout, stderr } = await deployment.stack.tool("restore.sh", { ...operator.env, FROM: from, ...env });
  return { code, said: stdout + stderr, seconds: (Date.now() - started) / 1000 };
}

/** A client that logs in anew finds all that was on the first machine. */
async function expectEverything(): Promise<void> {
  const client = await deployment.client();
  try {
    await client.login();
    expect(await client.read(message)).toBe("written on the first machine");
    expect((await client.download(media)).equals(MEDIA)).toBe(true);
    expect(await publishedKey()).toBe(keyId);
  } finally {
    await client.close();
  }
}

describe("a backup", () => {
  it("is one file for nobody but the recipient", async () => {
    const { code, said, seconds } = await backUp();
    expect({ code, said }).toEqual({
      code: 0,
      said: expect.stringMatching(/saved .*, 1 media files of 5000000 bytes/) as string,
    });
    console.log(`backup in ${seconds.toFixed(1)} s: ${said}`);
    const [name = "", ...more] = await backups();
    expect(more).toEqual([]);
    expect(name).toMatch(new RegExp(`^${deployment.serverName}-\\d{8}T\\d{6}Z\\.tar\\.gpg$`));
    expect(await deployment.host.run(`stat -c '%a %U' ${DIRECTORY}/${name}`)).toBe("600 root");
    const opened = await deployment.host.attempt(`gpg --batch --decrypt ${DIRECTORY}/${name}`);
    expect(opened.code).not.toBe(0);
    expect(opened.stderr).toContain("No secret key");
    expect(opened.stdout).toBe("");
    expect(await deployment.host.run("ls -A /var/lib/matrix-homeserver")).not.toContain("backup");
    expect(await status()).toMatch(/^result=ok\n[^]*\nbytes=\d+\nlast_copied=\d{8}T\d{6}Z$/);
  });

  it("is in the store as it is on the machine", async () => {
    expect(await store.list("of/chat")).toEqual(await backups());
    const [name = ""] = await backups();
    const there = createHash("sha256")
      .update(await store.read(`of/chat/${name}`))
      .digest("hex");
    expect(await deployment.host.run(`sha256sum <${DIRECTORY}/${name}`)).toBe(`${there}  -`);
  });

  it("shows the store's key to nobody", async () => {
    const { host } = deployment;
    await startWatching(host);
    await host.run(`touch ${CONFIGURATION}`);
    await backUp();
    const seen = await stopWatching(host);
    expect(seen).toContain("s3cmd");
    const key = { key: STORE_SECRET };
    expect(found(key, seen)).toEqual([]);
    expect(await filesWith(host, key)).toEqual([`${CONFIGURATION} 600 root`]);
    expect(found(key, await deployment.stack.exportText())).toEqual([]);
  });

  it("comes by the clock", async () => {
    expect(
      await deployment.host.run("systemctl show --property NextElapseUSecRealtime matrix-homeserver-backup.timer"),
    ).toMatch(/ 03:3\d:/);
  });

  it("lets the oldest go, once there are more than are kept", async () => {
    const [oldest = ""] = await backups();
    expect(await backups()).toHaveLength(2);
    await backUp();
    const kept = await backups();
    expect(kept).toHaveLength(2);
    expect(kept).not.toContain(oldest);
    expect(await store.list("of/chat")).toEqual(kept);
  });

  it("that went well costs a preview one login, and nothing is said of it", async () => {
    const { host, stack } = deployment;
    const { result, logins } = await host.countingLogins(() => stack.preview());
    expect({ logins, changes: result.changes }).toEqual({ logins: 1, changes: {} });
    expect(result.messages).not.toContain("backup");
    await stack.set({ "backup.warnAfterHours": 0 });
    expect((await host.countingLogins(() => stack.preview())).logins).toBe(0);
    await stack.unset("backup.warnAfterHours");
  });

  it("that the store refuses is kept on the machine; the unit says so, and so does a preview", async () => {
    const { host, stack } = deployment;
    const there = await store.list("of/chat");
    await store.letIn("another secret");
    const { code, said } = await backUp();
    expect(code).not.toBe(0);
    const sentence =
      /a backup was made in \/var\/backups\/matrix-homeserver, but the store s3:\/\/backups-of-the-tests\/of\/chat\/ does not answer as it should \(S3 error: 403 [^\n]*\): check backup\.s3/;
    expect(said).toMatch(new RegExp(`error: ${sentence.source}`));
    const newest = (await backups()).at(-1) ?? "";
    expect(await store.list("of/chat")).toEqual(there);
    expect(there).not.toContain(newest);
    expect(await status()).toMatch(new RegExp(`^result=failed\n[^]*\nfile=${DIRECTORY}/${newest}\n`));
    const warned = await stack.preview();
    expect(warned.messages).toMatch(new RegExp(`warning: the last backup failed, 20[^\n]*${sentence.source}`));
    expect(warned.changes).toEqual({});

    // A key that is not right is found by the update, and the one that was in force stays.
    const before = await host.run(`sha256sum ${CONFIGURATION}`);
    await store.letIn(STORE_SECRET);
    await stack.setSecret("backup.s3.secretAccessKey", "not-the-secret-key");
    expect(await failureOf(stack.up())).toContain("does not answer as it should (S3 error: 403");
    expect(await host.run(`sha256sum ${CONFIGURATION}`)).toBe(before);
    await stack.setSecret("backup.s3.secretAccessKey", STORE_SECRET);
    await stack.up();
    expect((await backUp()).code).toBe(0);
    // With the one that was not taken.
    expect(await backups()).toContain(newest);
    expect(await store.list("of/chat")).toEqual(await backups());
    expect((await stack.preview()).messages).not.toContain("backup");
  });

  it("that is too old makes a preview warn", async () => {
    const { host, stack } = deployment;
    await host.run("sed -i.before 's/^last_ok=.*/last_ok=20260101T033000Z/' /etc/matrix-homeserver/last-backup");
    expect((await stack.preview()).messages).toMatch(
      /warning: the last backup is \d+ hours old, and backup\.warnAfterHours is 50; see 'systemctl status/,
    );
    await host.run("mv /etc/matrix-homeserver/last-backup.before /etc/matrix-homeserver/last-backup");
  });

  it("that finds no room leaves the earlier ones, and says what to do", async () => {
    const before = await backups();
    await deployment.host.run(
      `head -c $(($(df --output=avail -B1 ${DIRECTORY} | tail -n 1) - 1000000)) /dev/zero >${DIRECTORY}/filler`,
    );
    const { code, said } = await backUp();
    expect(code).not.toBe(0);
    expect(said).toMatch(
      /error: only \d MB are free in \/var\/backups\/matrix-homeserver, and about \d+ MB are needed: .*; no backup was made, and the earlier ones are as they were/,
    );
    expect(await backups()).toEqual(before);
    expect(await status()).toMatch(/^result=failed\n[^]*\nproblem=only [^]*\nlast_ok=/);
    await deployment.host.run(`rm ${DIRECTORY}/filler`);
  });

  it("that runs out of room on its way leaves no half of it", async () => {
    const before = await backups();
    // Half of the file fits; the look at what is free is deceived.
    await deployment.host.run(
      `cp -a /usr/local/libexec/matrix-homeserver/backup /root/backup; sed -i 's/((free > \\$2))/true/' /usr/local/libexec/matrix-homeserver/backup
head -c $(($(df --output=avail -B1 ${DIRECTORY} | tail -n 1) - 1000000)) /dev/zero >${DIRECTORY}/filler`,
    );
    const { code, said } = await backUp();
    await deployment.host.run(`mv /root/backup /usr/local/libexec/matrix-homeserver/backup; rm ${DIRECTORY}/filler`);
    expect(code).not.toBe(0);
    expect(said).toContain("No space left on device");
    expect(said).toMatch(/error: the backup could not be written to .*; no backup was made/);
    expect(await backups()).toEqual(before);
  });

  it("without the database says so", async () => {
    await deployment.host.run("systemctl stop postgresql");
    const { code, said } = await backUp();
    await deployment.host.run("systemctl start postgresql");
    expect(code).not.toBe(0);
    expect(said).toContain("error: the database does not answer (see above); no backup was made");
    expect(await status()).toContain("problem=the database does not answer");
  });

  it("that is killed, as by a machine that loses its power, is told by a preview; the next one is whole", async () => {
    const { host, stack } = deployment;
    const psql = (query: string) => `runuser -u postgres -- psql -qAtd synapse -c "${query}"`;
    const asleep = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    // A table that is locked holds pg_dump up.
    await host.run(`
systemd-run -q --collect --unit=lock -- ${psql("BEGIN; LOCK TABLE erased_users; SELECT pg_sleep(120)")}
for _ in {1..100}; do if ${psql(`SELECT 'locked' ${asleep}`)} | grep -q locked; then break; fi; sleep 0.1; done
systemctl start --no-block matrix-homeserver-backup
for _ in {1..100}; do if pgrep -x pg_dump >/dev/null; then exit 0; fi; sleep 0.1; done
exit 1`);
    expect((await stack.preview()).messages).not.toContain("backup");
    await host.run(`
systemctl kill --signal KILL matrix-homeserver-backup
${psql(`SELECT pg_terminate_backend(pid) ${asleep}`)}`);
    expect((await stack.preview()).messages).toMatch(
      /warning: the last backup, begun 20[^,]* UTC, did not come to its end: it was killed, .*; the last good one is of 20/,
    );
    expect(await status()).toMatch(/^result=begun\ntime=\S+\nlast_ok=\S+\nfile=\S+\nbytes=\d+\nlast_copied=\S+$/);
    expect((await backUp()).code).toBe(0);
    expect(await status()).toMatch(/^result=ok\n/);
  });

  it("is not changed by a second update", async () => {
    expect(changed(await deployment.stack.up())).toEqual([]);
  });
});

describe("another machine of the same stack", () => {
  beforeAll(async () => {
    const last = (await backups()).at(-1) ?? "";
    const { stdout } = await deployment.host.login(`sudo -n base64 ${DIRECTORY}/${last}`);
    file = await operator.save(last, Buffer.from(stdout, "base64"));
    await deployment.host.remove();
    const lost = await deployment.stack.preview();
    expect(lost.messages).toMatch(/warning: the machine could not be asked about its last backup \(.+\): look at/);
    expect(lost.changes).toEqual({});
    console.log(`a preview without the machine took ${lost.seconds.toFixed(1)} s`);

    second = await LabHost.create("bkb");
    const { address, hostKey } = second.facts;
    await deployment.stack.set({ "host.address": address, "host.hostKey": hostKey });
    await deployment.stack.up();
    expect(await second.run(`sha256sum </opt/synapse/${deployment.serverName}.signing.key`)).not.toBe(signingKey);
  });

  const host = () => {
    if (!second) throw new Error("there is no second machine");
    return second;
  };

  it("lists what there is", async () => {
    const { code, stdout } = await deployment.stack.tool("backups.sh", {});
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^on the machine:\nin the store:\n\d+ s3:\/\/\S+\n\d+ s3:\S+\nthe last one:\nthere was none yet\n$/,
    );
  });

  it("refuses the backup of another homeserver, here and there", async () => {
    const other = await operator.alter(file, "other.tar.gpg", "sed -i s/^server_name=.*/server_name=other.test/ head");
    const { code, said } = await restore(other);
    expect(code).not.toBe(0);
    expect(said).toContain("is a backup of the homeserver other.test, and the stack");
    const there = await host().login(`sudo -n bash -c '${PROGRAM} check 3<&0'`, "format=1\nserver_name=other.test\n");
    expect(there.code).not.toBe(0);
    expect(there.stderr).toContain("error: this is a backup of the homeserver other.test, and this one is");
  });

  it.each([
    [
      "a newer PostgreSQL",
      "sed -i s/^postgresql=.*/postgresql=990001/ head",
      "the backup is from PostgreSQL 99, and this machine has 15",
    ],
    [
      "a newer Synapse",
      "sed -i s/^synapse_schema_compat=.*/synapse_schema_compat=999/ head",
      "the release on this machine is too old for its database: set synapse.version to",
    ],
    [
      "a damaged file",
      "echo >>$(find media_store -type f)",
      "error: the backup is damaged: what is in it is not what its sums say",
    ],
    ["a missing file", "find media_store -type f -delete", "error: the backup is damaged"],
  ])("refuses a backup with %s, and goes on serving", async (_name, change, sentence) => {
    const pid = (await host().processes()).synapse;
    const { code, said } = await restore(await operator.alter(file, "altered.tar.gpg", change));
    expect(code).not.toBe(0);
    expect(said).toContain(sentence);
    expect((await host().processes()).synapse).toBe(pid);
  });

  it("refuses what is not in its store", async () => {
    const { code, said } = await restore("s3://another-bucket/x.tar.gpg");
    expect(code).not.toBe(0);
    expect(said).toContain("is not in the store of this machine, which is s3://backups-of-the-tests/of/chat/");
  });

  it("refuses half a file", async () => {
    await operator.bash(`head -c 3000000 ${file} >half.tar.gpg`);
    const { code, said } = await restore(`${operator.folder}/half.tar.gpg`);
    expect(code).not.toBe(0);
    expect(said).toContain("nothing was changed");
  });

  it("puts back what it had when Synapse does not start with what was restored", async () => {
    const before = await publishedKey();
    const { code, said } = await restore(
      await operator.alter(file, "broken.tar.gpg", `echo rubbish >configuration/${deployment.serverName}.signing.key`),
    );
    expect(code).not.toBe(0);
    expect(said).toContain(
      "Synapse did not start with what was restored (see above); what was there before was put back and is serving",
    );
    expect(await publishedKey()).toBe(before);
    const client = await deployment.client();
    await client.login();
    await client.close();
    expect(await host().sql("SELECT count(*) FROM rooms")).toBe("0");
  });

  it("is the first one again, to clients and to other servers, after a restore that was cut off and one that was not", async () => {
    const cutOff = restore(file);
    await host().run(`for i in {1..1800}; do
  if [[ -e /var/lib/matrix-homeserver/restore/database-changed ]]; then kill -9 $(pgrep -f ${PROGRAM}); exit 0; fi
  sleep 0.05
done
exit 1`);
    expect((await cutOff).code).not.toBe(0);
    expect((await host().attempt("systemctl is-active synapse")).code).not.toBe(0);

    // With nothing but the store, the stack, and the private key.
    const name = (await store.list("of/chat")).at(-1) ?? "";
    expect(file).toMatch(new RegExp(`/${name}$`));
    const { code, said, seconds } = await restore(`s3://${store.bucket}/of/chat/${name}`);
    expect({ code, said }).toEqual({ code: 0, said: expect.stringContaining("restored the backup") as string });
    expect(said).toContain("an earlier restore was cut off: putting back what was there before it");
    console.log(`restore in ${seconds.toFixed(1)} s: ${said}`);
    await expectEverything();
    expect(await host().run(`sha256sum </opt/synapse/${deployment.serverName}.signing.key`)).toBe(signingKey);
    expect(await host().run("ls /var/lib/matrix-homeserver")).not.toContain("restore");
  });

  it("has the sessions that people had", async () => {
    const { hostAddress, caCertificate, baseUrl, adminUserId } = await deployment.outputs();
    const { body } = await ask(`${baseUrl}/_matrix/client/v3/account/whoami`, hostAddress, caCertificate, {
      Authorization: `Bearer ${accessToken}`,
    });
    expect(JSON.parse(body)).toMatchObject({ user_id: adminUserId });
  });

  it("is what the stack says: an update finds nothing to do", async () => {
    expect(changed(await deployment.stack.up())).toEqual([]);
    await expectEverything();
  });

  it("refuses a second restore, but for FORCE", async () => {
    const again = await restore(file);
    expect(again.code).not.toBe(0);
    expect(again.said).toContain("this homeserver is in use: it has 0 users besides");
    expect(again.said).toContain(
      "and 1 rooms, which a restore would destroy; when that is what you want, say FORCE=yes",
    );
    const forced = await restore(file, { FORCE: "yes" });
    expect({ code: forced.code, said: forced.said }).toEqual({
      code: 0,
      said: expect.stringContaining("restored the backup") as string,
    });
    await expectEverything();
  });

  it("makes backups as the first one did", async () => {
    await host().run("systemctl start matrix-homeserver-backup");
    expect(await host().run(`ls ${DIRECTORY} | wc -l`)).toBe("1");
  });
});
