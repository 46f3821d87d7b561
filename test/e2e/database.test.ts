/* A homeserver whose database is on another machine, which somebody else keeps: here a second lab host. */
import { issue } from "./certificates";
import { Deployment, proveServing } from "./deployment";
import { LabHost } from "./host";
import { Operator } from "./operator";
import { failureOf } from "./stack";

jest.setTimeout(300_000);

const PASSWORD = "an external: database's \\password";

let deployment: Deployment;
let server: LabHost;
let ca: string;

beforeAll(async () => {
  server = await LabHost.create("db");
  deployment = await Deployment.prepare("dbc");
  const issued = await issue(["db.lab.test"]);
  const { certificate, key } = issued;
  ca = issued.ca;
  // As its administrator would set it up by hand.
  await server.run(`
dnf -q -y module enable postgresql:15 >/dev/null
dnf -q -y install postgresql-server postgresql >/dev/null
PGSETUP_INITDB_OPTIONS="--encoding=UTF8 --locale=C --auth-host=scram-sha-256" postgresql-setup --initdb >/dev/null
cat >/var/lib/pgsql/data/server.crt <<'PEM'
${certificate}
PEM
cat >/var/lib/pgsql/data/server.key <<'PEM'
${key}
PEM
chown postgres:postgres /var/lib/pgsql/data/server.*
chmod 600 /var/lib/pgsql/data/server.key
printf "listen_addresses = '*'\\nssl = on\\n" >>/var/lib/pgsql/data/postgresql.conf
printf 'hostssl all synapse 198.51.100.0/24 scram-sha-256\\n' >>/var/lib/pgsql/data/pg_hba.conf
systemctl start postgresql`);
  await server.sql(`CREATE ROLE synapse LOGIN PASSWORD $p$${PASSWORD}$p$`, "postgres");
  await server.sql(
    "CREATE DATABASE latin ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0 OWNER synapse",
    "postgres",
  );
  await deployment.host.run(`printf '%s db.lab.test\\n' ${server.facts.address} >>/etc/hosts`);
  await deployment.stack.set({ "database.host": "db.lab.test", "database.ca": ca });
  await deployment.stack.setSecret("dbPassword", PASSWORD);
});

afterAll(async () => {
  await Promise.all([deployment.remove(), server.remove()]);
});

it("is refused, before Synapse is touched, when its collation is not C", async () => {
  await deployment.stack.set({ "database.name": "latin" });
  expect(await failureOf(deployment.stack.up())).toContain(
    "the database has the encoding, collation and ctype 'UTF8 C.UTF-8 C.UTF-8', and Synapse needs 'UTF8 C C'",
  );
  expect((await deployment.host.attempt("systemctl cat synapse")).code).not.toBe(0);
});

it("is refused when the role may not make tables in it", async () => {
  await server.sql(
    "CREATE DATABASE synapse ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    "postgres",
  );
  await deployment.stack.set({ "database.name": "synapse" });
  expect(await failureOf(deployment.stack.up())).toContain("the role may not make tables in the database");
});

it("is refused when its certificate is not the authority's", async () => {
  await server.sql("ALTER DATABASE synapse OWNER TO synapse", "postgres");
  const stranger = await issue(["db.lab.test"]);
  await deployment.stack.set({ "database.ca": stranger.ca });
  expect(await failureOf(deployment.stack.up())).toMatch(/certificate verify failed/);
  await deployment.stack.set({ "database.ca": ca });
});

it("serves a client, over TLS, with nothing of PostgreSQL's server on the homeserver's machine", async () => {
  await deployment.stack.up();
  await deployment.proveServing();
  expect(
    await server.sql(
      "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'synapse'",
    ),
  ).toBe("t");
  expect((await deployment.host.attempt("rpm -q postgresql-server")).code).not.toBe(0);
});

it("is not changed by a second update", async () => {
  expect((await deployment.stack.up()).changes).toEqual({});
});

it("is saved with a backup, and replaced by it as a whole", async () => {
  const operator = await Operator.create();
  const client = await deployment.client();
  try {
    await deployment.stack.set({ "backup.recipient": operator.publicKey });
    await deployment.stack.up();
    await client.login();
    const before = await proveServing(client);
    await deployment.host.run("systemctl start matrix-homeserver-backup");
    const after = await proveServing(client);
    // A table that the backup knows nothing of would be in the way of a later release of Synapse.
    await server.sql("SET ROLE synapse; CREATE TABLE public.of_a_newer_release (id bigserial)");

    const { stdout } = await deployment.host.login("sudo -n bash -c 'base64 /var/backups/matrix-homeserver/*.tar.gpg'");
    const file = await operator.save("backup.tar.gpg", Buffer.from(stdout, "base64"));
    const restored = await deployment.stack.tool("restore.sh", { ...operator.env, FROM: file, FORCE: "yes" });
    expect({ ...restored, stderr: "" }).toMatchObject({ code: 0 });
    expect(await client.read(before)).toMatch(/^still here/);
    expect(await server.sql(`SELECT count(*) FROM rooms WHERE room_id = '${after.roomId}'`)).toBe("0");
    expect(await server.sql("SELECT to_regclass('of_a_newer_release') IS NULL")).toBe("t");
  } finally {
    await client.close();
    await operator.remove();
  }
});
