import type { LabClient } from "../../lab/client/client";
import { Deployment } from "./deployment";
import { UpdateError } from "./stack";

jest.setTimeout(600_000);

describe("a homeserver on CentOS Linux 8.5, whose mirrors are gone", () => {
  let deployment: Deployment;
  let client: LabClient | undefined;
  const run = (script: string) => deployment.host.run(script);
  /** Changes with every file and every package that a deployment could have touched. */
  const machine = () =>
    run(
      "{ find /etc /opt /usr/local /var/lib/pgsql -printf '%p %T@ %s %m %u %g %l\\n' || true; rpm -qa; } | sort | sha256sum",
    );

  beforeAll(async () => {
    deployment = await Deployment.prepare("centos", { flavour: "centos-8.5" });
  });

  afterAll(async () => {
    await client?.close();
    await (deployment as Deployment | undefined)?.remove();
  });

  it("refuses a Synapse that cannot run there before it changes anything, and names the choices", async () => {
    const before = await machine();
    await deployment.stack.set({ "synapse.version": "1.163.2" });
    const failure: unknown = await deployment.stack.up().catch((error: unknown) => error);
    if (!(failure instanceof UpdateError)) throw new Error("the update succeeded");
    expect(failure.update.messages).toContain(
      "error: CentOS Linux 8.5 can run Synapse up to 1.141.0, because newer ones need a newer Python and PostgreSQL than " +
        "it has, and synapse.version is 1.163.2: run 'pulumi config set --path synapse.version 1.141.0', or move the " +
        "machine to AlmaLinux, Rocky Linux, RHEL or Oracle Linux, release 8.10",
    );
    expect(await machine()).toBe(before);
  });

  it("points dnf at the vault, says so, and keeps the files as they were", async () => {
    await deployment.stack.set({ "synapse.version": "1.141.0" });
    await deployment.stack.up();
    expect(deployment.stack.transcript).toContain(
      "CentOS-Linux-AppStream.repo names http://198.51.100.1:8080/vault now",
    );
    const lines = await run("cd /etc/yum.repos.d && grep -h '^baseurl\\|^mirrorlist' *.repo");
    expect(lines.split("\n").sort()).toEqual(
      ["AppStream", "BaseOS", "PowerTools", "extras"].map(
        (name) => `baseurl=http://198.51.100.1:8080/vault/$contentdir/$releasever/${name}/$basearch/os/`,
      ),
    );
    expect(await run("cat /etc/yum.repos.d/CentOS-Linux-BaseOS.repo.before-matrix-homeserver")).toContain(
      "\nmirrorlist=http://mirrorlist.centos.org/",
    );
  });

  it("takes what the system has: Python 3.9, PostgreSQL 13, nginx 1.18", async () => {
    expect(await run("/opt/synapse/env/bin/python --version")).toMatch(/^Python 3\.9\./);
    expect(await run("/opt/synapse/env/bin/python -c 'import synapse; print(synapse.__version__)'")).toBe("1.141.0");
    expect(await run("cat /var/lib/pgsql/data/PG_VERSION")).toBe("13");
    expect(await run("rpm -q --queryformat '%{NAME} %{VERSION}' nginx")).toMatch(/^nginx 1\.18\./);
  });

  it("serves a client", async () => {
    client = await deployment.client();
    await client.login();
    expect(await client.sendAndReadBack("hello from the vault")).toMatchObject({ body: "hello from the vault" });
  });

  it("is left alone by an update without a change", async () => {
    expect((await deployment.stack.up()).changes).toEqual({});
  });
});

describe("a homeserver on EL 8.10 whose repositories have no Python 3.12", () => {
  let deployment: Deployment;
  let client: LabClient | undefined;
  const run = (script: string) => deployment.host.run(script);

  beforeAll(async () => {
    deployment = await Deployment.prepare("el810", { flavour: "8.10" });
    await deployment.stack.up();
  });

  afterAll(async () => {
    await client?.close();
    await (deployment as Deployment | undefined)?.remove();
  });

  it("takes the next best that they have: Python 3.11, PostgreSQL 15, nginx 1.22", async () => {
    expect(await run("/opt/synapse/env/bin/python --version")).toMatch(/^Python 3\.11\./);
    expect(await run("cat /var/lib/pgsql/data/PG_VERSION")).toBe("15");
    expect(await run("rpm -q --queryformat '%{NAME} %{VERSION}' nginx")).toMatch(/^nginx 1\.22\./);
  });

  it("has its repositories left alone", async () => {
    expect(await run("ls /etc/yum.repos.d")).toBe("lab.repo");
  });

  it("serves a client", async () => {
    client = await deployment.client();
    await client.login();
    expect(await client.sendAndReadBack("hello from 8.10")).toMatchObject({ body: "hello from 8.10" });
  });

  it("is left alone by an update without a change", async () => {
    expect((await deployment.stack.up()).changes).toEqual({});
  });
});
