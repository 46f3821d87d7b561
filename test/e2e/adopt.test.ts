/* Servers that were built by hand are taken over: as one that runs as root with SQLite, and as one with PostgreSQL. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { LabClient, type SentMessage } from "../../lab/client/client";
import { ask } from "./ask";
import { type Outputs, outputsOf } from "./deployment";
import { LabHost } from "./host";
import { changed, failureOf, Stack } from "./stack";

jest.setTimeout(600_000);

const OLD = "1.162.0";
const NEW = "1.163.2";
const PASSWORD = "Grown-by-hand-1";
const KEEP = "/var/lib/matrix-homeserver/before-adoption";

type Database = "sqlite" | "postgresql";

/** A server that somebody built, the stack that is to take it over, and somebody who uses it. */
class HandBuilt {
  private constructor(
    readonly host: LabHost,
    readonly stack: Stack,
    readonly serverName: string,
    readonly client: LabClient,
    private readonly ca: string,
  ) {}

  static async create(database: Database): Promise<HandBuilt> {
    const host = await LabHost.create(`adopt-${database.slice(0, 2)}`, { synapse: [OLD, NEW] });
    try {
      return await HandBuilt.build(host, database);
    } catch (error) {
      await host.remove();
      throw error;
    }
  }

  private static async build(host: LabHost, database: Database): Promise<HandBuilt> {
    const { address, user, hostKey, privateKeyFile, indexUrl } = host.facts;
    const serverName = `${host.name}.test`;
    const told = { SERVER_NAME: serverName, INDEX_URL: indexUrl, SYNAPSE: OLD, DATABASE: database, PASSWORD };
    const prelude = Object.entries(told).map(([name, value]) => `${name}='${value}'\n`);
    const commands = `${prelude.join("")}main() {\n${readFileSync(join(__dirname, "handBuilt.sh"), "utf8")}\n}\nmain </dev/null\n`;
    const { code, stderr } = await host.login("sudo -n bash -s", commands, 400);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    const stack = await Stack.create(host.name);
    await stack.set({
      "host.address": address,
      "host.user": user,
      "host.hostKey": hostKey,
      "host.privateKeyFile": privateKeyFile,
      "synapse.indexUrl": indexUrl,
    });
    const ca = await host.run("cat /etc/nginx/ssl/matrix.crt");
    const client = new LabClient({ serverName, address, ca, user: "ann", password: PASSWORD });
    await client.login();
    return new HandBuilt(host, stack, serverName, client, ca);
  }

  /** What the server tells other servers and everybody: its release, and its signing keys. */
  async identity(): Promise<{ version: string; keys: unknown }> {
    const get = async (path: string) =>
      JSON.parse(
        (await ask(`https://matrix.${this.serverName}${path}`, this.host.facts.address, this.ca)).body,
      ) as unknown;
    const { server } = (await get("/_matrix/federation/v1/version")) as { server: { version: string } };
    const { verify_keys: keys } = (await get("/_matrix/key/v2/server")) as { verify_keys: object };
    expect(Object.keys(keys)).toHaveLength(1);
    return { version: server.version, keys };
  }

  async adopt() {
    return await this.stack.tool("adopt.sh", {});
  }

  async remove(): Promise<void> {
    await this.client.close();
    await this.host.remove();
    await this.stack.remove();
  }
}

describe.each<Database>(["sqlite", "postgresql"])("a server with %s", (database) => {
  let server: HandBuilt;
  let message: SentMessage;
  let media: string;
  let token: string | null;
  let before: { version: string; keys: unknown };

  beforeAll(async () => {
    server = await HandBuilt.create(database);
    message = await server.client.send("written before the take-over");
    media = await server.client.upload(Buffer.from("uploaded before the take-over"), "text/plain");
    token = server.client.accessToken;
    before = await server.identity();
    expect(before.version).toBe(OLD);
  });

  afterAll(async () => {
    await server.remove();
  });

  it("is looked at, and nothing of it is changed; a stack gets what it takes, and shows what it would do", async () => {
    const { host } = server;
    await host.run("touch /root/before");
    const { code, stdout, stderr } = await server.adopt();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(
      await host.run(
        "find /etc /opt /usr -newer /root/before -not -name 'homeserver.db*' -not -name homeserver.log -not -type d",
      ),
    ).toBe("");

    expect(stdout).toContain(`${server.serverName}, Synapse ${OLD} in /opt/synapse/env, run by matrix-synapse.service`);
    expect(stdout).toContain(
      database === "sqlite" ? "SQLite database /opt/synapse/homeserver.db" : "PostgreSQL database synapse",
    );
    expect(stdout).toContain("homeserver.yaml's max_upload_size, allow_guest_access, password_config, rc_login");
    expect(stdout).toContain("the certificate /etc/nginx/ssl/matrix.crt, which signed itself");
    expect(stdout).toMatch(/\d+ to create/);
    expect(stdout).not.toContain(PASSWORD);
    expect(stdout).not.toContain("pinch");
    expect(readFileSync(join(server.stack.folder, `Pulumi.${server.stack.name}.yaml`), "utf8")).not.toMatch(
      /Grown|pinch|PRIVATE/,
    );
  });

  if (database === "sqlite") {
    it("goes on when the new one does not start", async () => {
      const { host, stack } = server;
      // It hits the new one alone, whose secrets are there.
      await host.run(`mkdir /etc/systemd/system/synapse.service.d
printf '[Service]\\nInaccessiblePaths=-/opt/synapse/secrets\\n' >/etc/systemd/system/synapse.service.d/broken.conf`);
      const messages = await failureOf(stack.up());
      expect(messages).toContain("the earlier ones were put back and are serving");
      expect(await server.identity()).toEqual(before);
      expect(await server.client.read(message)).toBe("written before the take-over");
      message = await server.client.send("written before the take-over, to the one that was put back");
      await host.run("rm -r /etc/systemd/system/synapse.service.d");
    });

    it("goes on when the stack that could not take it over is destroyed", async () => {
      const { host, stack } = server;
      const { synapse } = await host.processes();
      await stack.destroy();
      expect((await host.processes()).synapse).toBe(synapse);
      await host.run("systemctl restart synapse && until curl -sf http://127.0.0.1:8008/health; do sleep 0.2; done");
    });
  }

  it("is taken over with everything that it has", async () => {
    const { host, stack, client } = server;
    await stack.up();
    expect(await server.identity()).toEqual({ version: NEW, keys: before.keys });
    expect(client.accessToken).toBe(token);
    expect((await client.download(media)).toString()).toBe("uploaded before the take-over");
    expect(await client.read(message)).toContain("written before the take-over");
    await client.sendAndReadBack("written after it");
    expect(await host.sql("SELECT name FROM users ORDER BY name")).toBe(
      ["admin", "ann", "root"].map((name) => `@${name}:${server.serverName}`).join("\n"),
    );
    if (database === "sqlite") expect(await host.run("head -c 15 /opt/synapse/homeserver.db")).toBe("SQLite format 3");

    expect(
      await host.run(
        "systemctl is-active synapse; systemctl is-enabled synapse; ps -o user= -p $(systemctl show -p MainPID --value synapse)",
      ),
    ).toBe("active\nenabled\nsynapse");
    expect(
      await host.run("systemctl list-unit-files 'matrix-synapse*' --no-legend || true; ls /etc/nginx/conf.d"),
    ).toBe("matrix-homeserver.conf");
    expect(await host.run(`ls ${KEEP} ${KEEP}/nginx`)).toContain("matrix-synapse.service");
    const outputs: Outputs = await outputsOf(stack);
    const admin = new LabClient({
      serverName: server.serverName,
      address: host.facts.address,
      ca: outputs.caCertificate,
      user: outputs.adminUserId,
      password: outputs.adminPassword,
    });
    await admin.login();
    await admin.close();
  });

  it("is a deployment like any other then", async () => {
    const { host, stack } = server;
    expect(changed(await stack.preview())).toEqual([]);
    const { synapse } = await host.processes();
    // Also where all of it runs again, as after a change of the login.
    await stack.set({ "host.port": 22 });
    await stack.unset("adopt");
    await stack.up();
    expect((await host.processes()).synapse).toBe(synapse);
    expect((await server.client.download(media)).toString()).toBe("uploaded before the take-over");
  });

  it("has no drift, and goes with its stack as far as that says", async () => {
    const { host, stack, serverName, client } = server;
    expect(await stack.tool("drift.sh", {})).toEqual({
      code: 0,
      stdout: `no difference from what the stack ${stack.name} says\n`,
      stderr: "",
    });
    if (database === "sqlite") {
      await stack.set({ purge: "without-backup" });
      await stack.up();
      await stack.destroy();
      expect(
        await host.run(
          "ls -d /opt/synapse /var/lib/matrix-homeserver /etc/matrix-homeserver 2>/dev/null || true; ls -A /var/lib/pgsql/data; getent passwd synapse || true",
        ),
      ).toBe("");
      return;
    }
    await stack.destroy();
    expect(await host.sql("SELECT count(*) FROM users")).toBe("3");
    expect(await host.run(`ls ${KEEP} /opt/synapse`)).toContain(`${serverName}.signing.key`);
    // Whoever wants the server back has it.
    await stack.up();
    expect((await server.identity()).keys).toEqual(before.keys);
    expect((await client.download(media)).toString()).toBe("uploaded before the take-over");
    await client.sendAndReadBack("written after the stack was destroyed and made again");
  });
});
