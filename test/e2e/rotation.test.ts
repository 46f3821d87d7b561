/*
 * Every secret is made anew, one update each: what was logged in stays so, an account can still be registered, what the old secret
 * opened is closed, and nobody else notices but for the seconds of a restart.
 */
import type { LabClient, SentMessage } from "../../lab/client/client";
import type { Outcome } from "./process";
import { Deployment, outage, type Outputs } from "./deployment";

jest.setTimeout(300_000);

const SECRETS = "/opt/synapse/secrets";
const SERVICE = ["health-client", "synapse-service-activation"];

let deployment: Deployment;
let outputs: Outputs;
/** Logged in before the first rotation, and never again. */
let client: LabClient;
let message: SentMessage;
let guestToken: string;
let accounts = 0;

beforeAll(async () => {
  deployment = await Deployment.prepare("rot");
  await deployment.stack.set({
    "homeserver.allow_guest_access": true,
    "homeserver.rc_login.account.burst_count": 100,
    "homeserver.rc_login.address.burst_count": 100,
  });
  await deployment.stack.up();
  outputs = await deployment.outputs();
  client = await deployment.client();
  await client.login();
  message = await client.send("written with the first secrets");
  guestToken = (
    JSON.parse(
      await deployment.host.run(
        "curl -sS -X POST -d '{}' 'http://127.0.0.1:8008/_matrix/client/v3/register?kind=guest'",
      ),
    ) as { access_token: string }
  ).access_token;
});

afterAll(async () => {
  await client.close();
  await deployment.remove();
});

const secretOnHost = (file: string) => deployment.host.run(`cat ${SECRETS}/${file}`);

/** The status of what somebody with this token is told of themselves. */
async function whoami(token: string): Promise<number> {
  return Number(
    await deployment.host.run(
      `curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer ${token}' http://127.0.0.1:8008/_matrix/client/v3/account/whoami`,
    ),
  );
}

/** Registers one more account on the machine, with the secret that homeserver.yaml names or the one in a file like it. */
async function register(config = "/opt/synapse/homeserver.yaml") {
  accounts += 1;
  return await deployment.host.attempt(
    `/opt/synapse/env/bin/register_new_matrix_user -c ${config} -u account${accounts} -p 'a password of many words' --no-admin http://127.0.0.1:8008`,
  );
}

/** One update that touches these resources and nothing else, through which the old session and registration go on. */
async function rotate(what: string, touches: readonly string[], restarts: readonly string[]): Promise<void> {
  const { stack, host } = deployment;
  const before = await host.processes();
  expect(Object.keys((await stack.preview()).changes).sort()).toEqual([...touches].sort());
  const seconds = await outage(outputs, () => stack.up());
  console.log(`${what}: clients had no answer for ${seconds.toFixed(1)} s`);
  const after = await host.processes();
  expect((["synapse", "nginx", "postgresql"] as const).filter((unit) => after[unit] !== before[unit])).toEqual(
    restarts,
  );
  expect(await whoami(client.accessToken ?? "")).toBe(200);
  expect((await register()).code).toBe(0);
}

describe.each([
  ["registrationSecret", "homeserver-registration", "registration_shared_secret", ["2026-11-25", "2026-12-25"]],
  ["macaroonSecret", "homeserver-macaroon", "macaroon_secret_key", ["2026-11-25"]],
  ["formSecret", "homeserver-form", "form_secret", ["2026-11-25"]],
])("%s", (setting, resource, file, texts) => {
  it("is made anew when its text changes", async () => {
    for (const text of texts) {
      const before = await secretOnHost(file);
      await deployment.stack.set({ [`rotate.${setting}`]: text });
      await rotate(setting, [resource, "homeserver-secrets", ...SERVICE], ["synapse"]);
      const after = await secretOnHost(file);
      expect(after).not.toBe(before);
      expect(after).toMatch(/^\w{50}$/);
      if (setting === "registrationSecret") {
        await deployment.host.run(
          `(umask 077; printf 'registration_shared_secret: "%s"\\n' '${before}' >/root/old.yaml)`,
        );
        const refused = await register("/root/old.yaml");
        expect(refused.code).not.toBe(0);
        expect(refused.stdout + refused.stderr).toContain("HMAC incorrect");
      }
      // Guests are the only ones whose token the secret has signed.
      expect(await whoami(guestToken)).toBe(setting === "registrationSecret" ? 200 : 401);
    }
  });
});

it("the database's password changes without a restart", async () => {
  await deployment.stack.setSecret("dbPassword", "the second password");
  await rotate("dbPassword", ["database-database", "homeserver-secrets"], []);
  // Connections that are made from now on are let in, too.
  await deployment.host.run("systemctl restart synapse");
  expect(await whoami(client.accessToken ?? "")).toBe(200);
});

it("the administrator's password changes without a restart", async () => {
  await deployment.stack.setSecret("admin.password", "a much better password");
  await rotate("admin.password", ["admin-account", "admin-password"], []);
  await deployment.proveServing();
});

it("a person gets an account, and another password when the first is lost", async () => {
  const { serverName, stack, host } = deployment;
  const user = (env: Readonly<Record<string, string>>) => stack.tool("user.sh", { NAME: "alice", ...env });
  const passwordOf = ({ code, stdout, stderr }: Outcome) => {
    const [id, password = ""] = stdout.split("\n");
    expect({ code, id, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, id: `@alice:${serverName}`, stderr: "" });
    return password;
  };
  const alice = (password: string) => deployment.client({ user: "alice", password });

  const first = passwordOf(await user({}));
  const before = await alice(first);
  await before.login();
  const again = await user({});
  expect(again).toMatchObject({ code: 1, stdout: "" });
  expect(again.stderr).toContain(`there is an account @alice:${serverName} already, and it was left as it is`);

  const second = passwordOf(await user({ NAME: `@alice:${serverName}`, RESET: "yes" }));
  expect(second).not.toBe(first);
  const lost = await alice(first);
  await expect(lost.login()).rejects.toThrow("login failed");
  const after = await alice(second);
  await after.login();
  await before.send("still logged in");

  expect(await host.sql(`SELECT admin FROM users WHERE name = '@alice:${serverName}'`)).toBe("0");
  passwordOf(await user({ RESET: "yes", ADMIN: "yes" }));
  expect(await host.sql(`SELECT admin FROM users WHERE name = '@alice:${serverName}'`)).toBe("1");

  expect((await user({ NAME: "Alice" })).stderr).toContain("and not 'Alice'");
  await Promise.all([before, lost, after].map((session) => session.close()));
});

it("the TLS key of the machine's own authority changes without a restart", async () => {
  const { host } = deployment;
  const before = await host.run("sha256sum /etc/pki/matrix-homeserver/selfsigned.key");
  const seconds = await outage(outputs, () =>
    host.run("/usr/local/libexec/matrix-homeserver/matrix-homeserver-selfsigned --force"),
  );
  console.log(`the TLS key: clients had no answer for ${seconds.toFixed(1)} s`);
  expect(await host.run("sha256sum /etc/pki/matrix-homeserver/selfsigned.key")).not.toBe(before);
});

it("and what was written with the first secrets is read with the last", async () => {
  const last = await deployment.client();
  await last.login();
  expect(await last.read(message)).toBe("written with the first secrets");
  await last.close();
  expect((await deployment.stack.preview()).changes).toEqual({});
});
