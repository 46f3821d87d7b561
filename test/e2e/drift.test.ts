/* What people change on a server by hand: it is found by one look that changes nothing, and put right without touching anything else. */
import { Deployment } from "./deployment";
import { Operator } from "./operator";

jest.setTimeout(300_000);

/** What somebody does to the machine, and how it is named then. */
const BY_HAND: readonly { readonly does: string; readonly named: string; readonly of: string }[] = [
  {
    does: "echo '# by hand' >>/etc/nginx/conf.d/matrix-homeserver.conf",
    named: "/etc/nginx/conf.d/matrix-homeserver.conf: its content differs",
    of: "nginx-site",
  },
  {
    does: "sed -i 's/:443/:8448/' /etc/nginx/matrix-homeserver/well-known.conf",
    named: "/etc/nginx/matrix-homeserver/well-known.conf: its content differs",
    of: "well-known-snippet",
  },
  {
    does: "echo 'allow_guest_access: true' >>/opt/synapse/homeserver.yaml",
    named: "/opt/synapse/homeserver.yaml: its content differs",
    of: "synapse-service-activation",
  },
  {
    does: "rm /var/lib/matrix-homeserver/staged/log.yaml",
    named: "/var/lib/matrix-homeserver/staged/log.yaml: it is missing",
    of: "homeserver-log",
  },
  {
    does: "chmod 0644 /opt/synapse/secrets/pgpass",
    named:
      "/opt/synapse/secrets/pgpass: its owner and mode are synapse:synapse 0644 and should be synapse:synapse 0600",
    of: "homeserver-secrets",
  },
  {
    does: "echo other >/opt/synapse/secrets/macaroon_secret_key",
    named: "/opt/synapse/secrets/macaroon_secret_key: its content differs (secret, not shown)",
    of: "homeserver-secrets",
  },
  {
    does: "chmod 0777 /opt/synapse/media_store",
    named: "/opt/synapse/media_store: its owner and mode are synapse:synapse 0777 and should be synapse:synapse 0750",
    of: "synapse-user-account",
  },
  {
    does: "usermod --shell /bin/bash synapse",
    named: "synapse: its shell is /bin/bash and should be /sbin/nologin",
    of: "synapse-user-account",
  },
  { does: "rpm -e --nodeps tar", named: "tar: it is not installed", of: "backup-packages" },
  { does: "systemctl stop nginx", named: "nginx: it is not running", of: "nginx-activation" },
  { does: "systemctl mask nginx", named: "nginx: it is masked and should be enabled", of: "nginx-activation" },
  {
    does: "systemctl disable postgresql",
    named: "postgresql: it is disabled and should be enabled",
    of: "database-cluster",
  },
  {
    does: "firewall-cmd -q --permanent --remove-service=https && firewall-cmd -q --reload",
    named: "https: it is not open, now and after a boot",
    of: "base-firewall",
  },
  {
    does: "systemctl disable matrix-homeserver-selfsigned.timer",
    named: "matrix-homeserver-selfsigned.timer: it is disabled and should be enabled",
    of: "tls-renewal-activation",
  },
  {
    does: "sed -i 's/^OnCalendar=.*/OnCalendar=weekly/' /etc/systemd/system/matrix-homeserver-backup.timer",
    named: "/etc/systemd/system/matrix-homeserver-backup.timer: its content differs",
    of: "backup-timed-activation",
  },
  {
    does: "ln -sfnT /opt/synapse/releases /opt/synapse/env",
    named: "/opt/synapse/env: it names /opt/synapse/releases and should name RELEASE",
    of: "synapse-service-activation",
  },
  {
    does: "runuser -u postgres -- psql -qc 'ALTER ROLE synapse CREATEDB'",
    named: "role synapse: it may do more or less than log in",
    of: "database-database",
  },
  {
    does: "runuser -u postgres -- psql -qc 'ALTER DATABASE synapse OWNER TO postgres'",
    named: "database synapse: its owner is postgres and should be synapse",
    of: "database-database",
  },
  {
    does: "sed -i '/^# BEGIN matrix-homeserver$/,/^# END matrix-homeserver$/d' /var/lib/pgsql/data/pg_hba.conf",
    named: "/var/lib/pgsql/data/pg_hba.conf: the rules by which synapse logs in are not there as they should be",
    of: "database-cluster",
  },
  {
    does: "sed -i 's/^Restart=.*/Restart=no/' /etc/systemd/system/synapse.service",
    named: "/etc/systemd/system/synapse.service: its content differs",
    of: "synapse-service-activation",
  },
  {
    does: "systemctl disable synapse",
    named: "synapse.service: it is disabled and should be enabled",
    of: "synapse-service-activation",
  },
  {
    does: "sed -i 's/8101/8102/' /etc/matrix-homeserver/workers/generic1.yaml",
    named: "/etc/matrix-homeserver/workers/generic1.yaml: its content differs",
    of: "worker-generic1-config",
  },
  {
    does: "systemctl disable synapse-generic1",
    named: "synapse-generic1.service: it is disabled and should be enabled",
    of: "worker-generic1-service-activation",
  },
  {
    does: "echo other >/opt/synapse/secrets/redis_password",
    named: "/opt/synapse/secrets/redis_password: its content differs (secret, not shown)",
    of: "homeserver-worker-secrets",
  },
  {
    does: "chmod 0644 /etc/matrix-homeserver/synapse-redis.conf",
    named:
      "/etc/matrix-homeserver/synapse-redis.conf: its owner and mode are root:redis 0644 and should be root:redis 0640",
    of: "redis-config",
  },
  {
    does: "systemctl stop synapse-redis",
    named: "synapse-redis.service: it is not running",
    of: "redis-service-activation",
  },
  {
    does: "rm /usr/local/libexec/matrix-homeserver/backup",
    named: "/usr/local/libexec/matrix-homeserver/backup: it is missing",
    of: "backup-timed-program",
  },
  {
    does: "chmod 0777 /usr/local/libexec/matrix-homeserver/install-file",
    named: "/usr/local/libexec/matrix-homeserver/install-file: it is not this program's own any more",
    of: "host-claim",
  },
  {
    does: "chown synapse /etc/pki/matrix-homeserver/selfsigned.key",
    named:
      "/etc/pki/matrix-homeserver/selfsigned.key: its owner and mode are synapse:root 0600 and should be root:root 0600",
    of: "tls-selfsigned",
  },
];
/** What has to run so that what was put right is in effect, and the question whether a client is served. */
const FOLLOW = ["backup-timed-activation", "health-client", "health-workers"];

let deployment: Deployment;
let operator: Operator;

beforeAll(async () => {
  operator = await Operator.create();
  deployment = await Deployment.prepare("drift");
  await deployment.stack.set({
    "backup.recipient": operator.publicKey,
    "backup.warnAfterHours": 0,
    "workers.generic": 1,
  });
  await deployment.stack.up();
}, 600_000);

afterAll(async () => {
  await Promise.all([operator.remove(), deployment.remove()]);
});

/** What the tool says and how it ends, having changed nothing and logged in once. */
async function look(): Promise<{ code: number; stdout: string; stderr: string }> {
  const { host, stack } = deployment;
  const before = await host.fingerprint();
  const { result, logins } = await host.countingLogins(() => stack.tool("drift.sh", {}));
  expect({ logins, fingerprint: await host.fingerprint() }).toEqual({ logins: 1, fingerprint: before });
  return result;
}

it("finds nothing on a machine that nobody touched", async () => {
  expect(await look()).toEqual({
    code: 0,
    stdout: `no difference from what the stack ${deployment.stack.name} says\n`,
    stderr: "",
  });
});

it("names all that was changed by hand and nothing else", async () => {
  const { host } = deployment;
  expect(BY_HAND.length).toBeGreaterThanOrEqual(20);
  const release = await host.run("readlink /opt/synapse/env");
  await host.run(BY_HAND.map(({ does }) => does).join("\n"));
  const { code, stdout, stderr } = await look();
  const named = stdout.split("\n").filter((line) => /^ {2}\S/.test(line));
  expect(named.sort()).toEqual(BY_HAND.map((change) => `  ${change.named.replace("RELEASE", release)}`).sort());
  expect(stdout).toContain("    -Restart=always\n    +Restart=no\n");
  expect(stdout).toContain(`\n${BY_HAND.length} differences from what the stack`);
  expect({ code, stderr }).toEqual({ code: 2, stderr: "" });
});

it("puts right what was named, and touches nothing else", async () => {
  const { stack, host } = deployment;
  const { code, stdout, stderr } = await stack.tool("reconcile.sh", { YES: "yes" });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [, preview = ""] = /\nPreviewing update[^\n]*\n(.*?)\nUpdating/s.exec(stdout) ?? [];
  const announced = [...preview.matchAll(/^ *([~+-]+) +\S+:\S+ (\S+) (\w+)/gm)].map(
    ([, , name, what]) => `${name} ${what}`,
  );
  expect([...new Set(announced)].sort()).toEqual(
    [...new Set([...BY_HAND.map(({ of }) => of), ...FOLLOW])].map((name) => `${name} update`).sort(),
  );
  expect(await look()).toMatchObject({ code: 0, stderr: "" });
  // In effect, and not only on the disk.
  expect(
    await host.run(`systemctl show --property NeedDaemonReload --value synapse matrix-homeserver-backup.timer
systemctl show --property TimersCalendar matrix-homeserver-backup.timer | grep -c '03:30:00'
systemctl show --property Restart --value synapse`),
  ).toBe("no\n\nno\n1\nalways");
  await deployment.proveServing();
});

it("has nothing left to do, and asks the machine nothing", async () => {
  const { result, logins } = await deployment.host.countingLogins(() => deployment.stack.preview());
  expect({ changes: result.changes, logins }).toEqual({ changes: {}, logins: 0 });
});

it("loads again what nginx reads after it was put right, and nothing but that", async () => {
  const { stack, host } = deployment;
  const before = await host.processes();
  // A reload of somebody's own: the change is in effect.
  await host.run("sed -i 's/:443/:8448/' /etc/nginx/matrix-homeserver/well-known.conf\nsystemctl reload nginx");
  const client = async () =>
    await host.run(
      `curl -sk --resolve ${deployment.serverName}:443:127.0.0.1 https://${deployment.serverName}/.well-known/matrix/server`,
    );
  expect(await client()).toContain(":8448");
  expect(await stack.tool("reconcile.sh", { YES: "yes" })).toMatchObject({ code: 0, stderr: "" });
  expect(await client()).toContain(":443");
  expect(await host.processes()).toEqual(before);
});

it("leaves to a backup what only that brings back, and says what it could not look at", async () => {
  const { stack, host, serverName } = deployment;
  const key = `/opt/synapse/${serverName}.signing.key`;
  await host.run(`mv ${key} ${key}.away\nsystemctl stop postgresql`);
  try {
    const { code, stdout } = await look();
    expect(stdout).toContain(`${key}: the signing key is missing\n`);
    expect(stdout).toContain("postgresql: it is not running\n");
    expect(stdout).toContain(
      "not looked at\n  database-database: PostgreSQL on this machine is down, or does not answer",
    );
    expect(code).toBe(2);
    await host.run("systemctl start postgresql");
    expect((await stack.tool("reconcile.sh", { YES: "yes" })).code).toBe(2);
    expect(await host.run(`ls ${key} 2>/dev/null || echo none`)).toBe("none");
  } finally {
    await host.run(`systemctl start postgresql\nmv ${key}.away ${key}`);
  }
});

it("says so when it cannot look", async () => {
  const { stack } = deployment;
  await stack.set({ "host.port": 1 });
  const { code, stdout, stderr } = await stack.tool("drift.sh", {});
  await stack.unset("host.port");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(`drift: the machine of the stack ${stack.name} could not be looked at (see above).`);
});
