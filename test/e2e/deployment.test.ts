import type { LabClient, SentMessage } from "../../lab/client/client";
import { ask } from "./ask";
import { Deployment, proveServing, stackFor, type Outputs } from "./deployment";
import { testFourteenSteps } from "./fourteenSteps";
import { filesWith, found, journal, secretsOf, startWatching, stopWatching } from "./secrets";
import { changed, type Update } from "./stack";

jest.setTimeout(600_000);

// One host for the whole file: each part finds what the ones before it left, as a host does in its life.
describe("a homeserver", () => {
  let deployment: Deployment;
  let client: LabClient;
  let first: { update: Update; logins: number; seen: string; outputs: Outputs };
  const stack = () => deployment.stack;
  const host = () => deployment.host;
  const activation = ["health-client", "synapse-service-activation"];

  beforeAll(async () => {
    deployment = await Deployment.prepare("a");
    await startWatching(host());
    const { result: update, logins } = await host().countingLogins(() => stack().up());
    first = { update, logins, seen: await stopWatching(host()), outputs: await deployment.outputs() };
    client = await deployment.client();
  });

  // beforeAll may have failed anywhere.
  afterAll(async () => {
    await (client as LabClient | undefined)?.close();
    await (deployment as Deployment | undefined)?.remove();
  });

  describe("the first update", () => {
    it("makes everything, at one login a command", async () => {
      expect(new Set(Object.values(first.update.changes))).toEqual(new Set(["create"]));
      const commands = (await stack().exportState()).filter(({ type }) => type === "command:remote:Command");
      expect(first.logins).toBeLessThanOrEqual(commands.length);
    });

    it("gives a server that a client finds, logs in to, and sends and reads a message on", async () => {
      expect(await client.discover()).toBe(first.outputs.baseUrl);
      expect(await client.login()).toBe(`@admin:${deployment.serverName}`);
      expect(await client.sendAndReadBack("the first message")).toMatchObject({ body: "the first message" });
    });

    testFourteenSteps(() => deployment);
  });

  describe("when nothing has changed", () => {
    it("an update does nothing, and nobody logs in to the host", async () => {
      const { result, logins } = await host().countingLogins(() => stack().up());
      expect({ changes: result.changes, logins }).toEqual({ changes: {}, logins: 0 });
    });

    it("a preview says so, and nobody logs in to the host", async () => {
      const { result, logins } = await host().countingLogins(() => stack().preview());
      expect({ changes: result.changes, logins }).toEqual({ changes: {}, logins: 0 });
    });

    it("every command can run again, and what serves is not disturbed", async () => {
      const processes = await host().processes();
      const commands = (await stack().exportState()).filter(({ type }) => type === "command:remote:Command");
      expect(commands.length).toBeGreaterThan(20);
      for (const { name, inputs } of commands) {
        const { code, stderr } = await host().login(String(inputs.create), String(inputs.stdin));
        expect({ name, code, stderr: code === 0 ? "" : stderr }).toEqual({ name, code: 0, stderr: "" });
      }
      expect(await host().processes()).toEqual(processes);
      await proveServing(client);
    });
  });

  describe("a changed setting", () => {
    it("touches what it must, says so beforehand, and restarts Synapse alone", async () => {
      const processes = await host().processes();
      await stack().set({ "homeserver.max_upload_size": "60M" });
      const touched = ["homeserver-homeserver", "nginx-activation", "nginx-site", ...activation].sort();
      expect(changed(await stack().preview())).toEqual(touched);
      expect(changed(await stack().up())).toEqual(touched);

      const { synapse, ...others } = await host().processes();
      expect(synapse).not.toBe(processes.synapse);
      expect(others).toEqual({ nginx: processes.nginx, postgresql: processes.postgresql });
      expect(await host().run("cat /opt/synapse/homeserver.yaml")).toContain(`max_upload_size: "60M"`);
      expect(await host().run("nginx -T 2>/dev/null")).toContain("client_max_body_size 60M;");
      await proveServing(client);
    });

    it("that Synapse can take while it runs is a reload", async () => {
      const processes = await host().processes();
      await stack().set({ "synapse.logLevel": "INFO" });
      expect(changed(await stack().up())).toEqual(["homeserver-log", ...activation].sort());
      expect(await host().processes()).toEqual(processes);
      await proveServing(client);
      // WARNING would not say this.
      expect(await host().run("journalctl --sync; journalctl -q -u synapse -o cat -n 200")).toContain(
        "INFO synapse.access",
      );
    });
  });

  describe("a change that goes wrong", () => {
    /** Sets a setting for as long as `action` takes. */
    const withSetting = async (path: string, value: string | boolean, action: () => Promise<void>) => {
      await stack().set({ [path]: value });
      try {
        await action();
      } finally {
        await stack().unset(path.replace(/\[0\]$/, ""));
      }
    };

    it("in a setting that Synapse refuses fails before the service is touched", async () => {
      const processes = await host().processes();
      await withSetting("homeserver.default_room_version", "newest", async () => {
        const failure = stack().up();
        await expect(failure).rejects.toThrow("Unknown default_room_version: newest");
        await expect(failure).rejects.toThrow(
          "homeserver.yaml is not valid (see above); the old one was left in place",
        );
      });
      expect(await host().processes()).toEqual(processes);
      expect(await host().run("cat /opt/synapse/homeserver.yaml")).not.toContain("newest");
    });

    it("in a setting that only a start finds wrong fails, and the earlier configuration serves", async () => {
      const before = await host().run("cat /opt/synapse/homeserver.yaml");
      await withSetting("homeserver.app_service_config_files[0]", "/etc/no-such-bridge.yaml", async () => {
        const failure = stack().up();
        await expect(failure).rejects.toThrow("No such file or directory: '/etc/no-such-bridge.yaml'");
        await expect(failure).rejects.toThrow("so the earlier ones were put back and are serving");
      });
      expect(await host().run("cat /opt/synapse/homeserver.yaml")).toBe(before);
      await proveServing(client);
    });

    it("is taken back without touching the service, which never had it", async () => {
      const processes = await host().processes();
      expect(changed(await stack().up())).toEqual(["homeserver-homeserver"]);
      expect(await host().processes()).toEqual(processes);
    });

    it("in nginx leaves the site as it was, and serving; once that is put right, the update goes through", async () => {
      const processes = await host().processes();
      const matrixUnderServerName = async () =>
        await ask(
          `https://${deployment.serverName}/_matrix/client/versions`,
          host().facts.address,
          first.outputs.caCertificate,
        );
      await stack().set({ "nginx.apexProxy": true });
      await host().run("echo 'nonsense;' >/etc/nginx/conf.d/broken.conf");
      try {
        const failure = stack().up();
        await expect(failure).rejects.toThrow('unknown directive "nonsense"');
        await expect(failure).rejects.toThrow(
          "matrix-homeserver.conf is not valid (see above); the old one was left in place",
        );
        expect(await matrixUnderServerName()).toMatchObject({ status: 404 });
        await proveServing(client);
      } finally {
        await host().run("rm /etc/nginx/conf.d/broken.conf");
      }
      expect(changed(await stack().up())).toEqual(["health-client", "nginx-activation", "nginx-site"]);
      expect(await matrixUnderServerName()).toMatchObject({ status: 200 });
      expect(await host().processes()).toEqual(processes);
    });
  });

  describe("the server's identity", () => {
    it("14: another server name is refused at preview, before anybody logs in to the host", async () => {
      await stack().set({ serverName: "other.test" });
      const { logins } = await host().countingLogins(async () => {
        await expect(stack().preview()).rejects.toThrow(
          `serverName cannot change from ${deployment.serverName} to other.test`,
        );
      });
      expect(logins).toBe(0);
      await stack().set({ serverName: deployment.serverName });
    });

    it("a second stack is refused the host, and changes nothing on it", async () => {
      const second = await stackFor(host(), `${host().name}-2`, "second.test");
      try {
        const before = [await host().fingerprint(), await host().processes()];
        await expect(second.up()).rejects.toThrow(
          `this machine is kept by the stack matrix-homeserver/${host().name} already, and two stacks must not share one`,
        );
        expect([await host().fingerprint(), await host().processes()]).toEqual(before);
      } finally {
        await second.remove();
      }
    });
  });

  describe("no secret", () => {
    let secrets: Record<string, string>;
    beforeAll(async () => {
      secrets = await secretsOf(deployment);
    });

    it("is forgotten by this test", () => {
      expect(Object.keys(secrets).sort()).toEqual(
        ["admin-password", "dbPassword", "homeserver-form", "homeserver-macaroon", "homeserver-registration"].sort(),
      );
      expect(first.outputs.adminPassword).toBe(secrets["admin-password"]);
    });

    it("is in what pulumi writes, or in the state", async () => {
      expect(stack().transcript).toContain("summaryEvent");
      expect(found(secrets, stack().transcript)).toEqual([]);
      expect(found(secrets, await stack().exportText())).toEqual([]);
    });

    it("was an argument or in the environment of a process on the host", () => {
      // That something was seen at all: a command of a second's length.
      expect(first.seen).toContain("register_new_matrix_user");
      expect(found(secrets, first.seen)).toEqual([]);
    });

    it("is in the journal", async () => {
      const entries = await journal(host());
      expect(entries).toContain("Accepted publickey");
      expect(found(secrets, entries)).toEqual([]);
    });

    it("is in any file on the host but those that only Synapse can read", async () => {
      const folder = "/opt/synapse/secrets";
      expect(await filesWith(host(), secrets)).toEqual(
        ["form_secret", "macaroon_secret_key", "pgpass", "registration_shared_secret"].map(
          (name) => `${folder}/${name} 600 synapse`,
        ),
      );
    });
  });

  describe("pulumi destroy", () => {
    let message: SentMessage;
    let kept: string;
    const identity = () => host().run("cd /opt/synapse && sha256sum *.signing.key media_store/e2e");

    beforeAll(async () => {
      message = await client.send("before the end");
      await host().run("runuser -u synapse -- touch /opt/synapse/media_store/e2e");
      kept = await identity();
      await client.logout();
      await stack().destroy();
    });

    it("leaves no service, no site, no secret and no release behind", async () => {
      await expect(host().run("systemctl cat synapse 2>&1")).rejects.toThrow("No files found");
      expect(await host().run("ps -u synapse -o pid= || true")).toBe("");
      expect((await host().run("ls -A /opt/synapse")).split("\n").sort()).toEqual(
        [`${deployment.serverName}.signing.key`, "media_store"].sort(),
      );
      expect((await host().attempt("ls /var/lib/matrix-homeserver/staged")).code).not.toBe(0);
      expect(
        await host().run("ls -d /etc/matrix-homeserver /usr/local/libexec/matrix-homeserver 2>/dev/null || true"),
      ).toBe("");
    });

    it("leaves nginx running, without the homeserver's site", async () => {
      await host().run("nginx -t && systemctl is-active nginx");
      expect(await host().run("ls /etc/nginx/conf.d")).not.toContain("matrix-homeserver");
      expect(await host().run("nginx -T 2>/dev/null")).not.toContain(deployment.serverName);
    });

    it("closes what it had opened in the firewall, and nothing else", async () => {
      for (const zone of ["", "--permanent"]) {
        const services = (await host().run(`firewall-cmd ${zone} --list-services`)).split(" ");
        expect(services).toContain("ssh");
        expect(services).not.toEqual(expect.arrayContaining(["http"]));
        expect(services).not.toEqual(expect.arrayContaining(["https"]));
      }
    });

    it("keeps the database, the media and the signing key", async () => {
      expect(await identity()).toBe(kept);
      expect(await host().sql("SELECT name FROM users")).toBe(`@admin:${deployment.serverName}`);
    });

    it("can be followed by an update that finds all of it again", async () => {
      await stack().up();
      expect(await identity()).toBe(kept);
      const { adminPassword } = await deployment.outputs();
      expect(adminPassword).not.toBe(first.outputs.adminPassword);
      const later = await deployment.client();
      try {
        expect(await later.read(message)).toBe("before the end");
      } finally {
        await later.close();
      }
    });
  });
});
