import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import {
  PLATFORMS,
  platformLines,
  POSTGRESQL_NEEDS,
  postgresqlNeedLines,
  SUPPORTED_SYSTEMS,
} from "../../components/platforms";
import { composeScript, readScript, type Variables } from "../../components/shell";

const NEWEST = "1.163.2";
const VAULT = "https://vault.centos.org";

/** What the distributions have in /etc/os-release, as far as it matters. */
const alma = (release: string) => osRelease("AlmaLinux", "almalinux", "rhel centos fedora", release);
const centosLinux = (release: string): Files => ({
  ...osRelease("CentOS Linux", "centos", "rhel fedora", "8"),
  "etc/centos-release": `CentOS Linux release ${release}\n`,
});
const centosStream = (major: string): Files => ({
  ...osRelease("CentOS Stream", "centos", "rhel fedora", major),
  "etc/centos-release": `CentOS Stream release ${major}\n`,
});

type Files = Readonly<Record<string, string>>;

interface Ending {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let machine: FakeMachine;

beforeEach(async () => {
  machine = await FakeMachine.create();
});

afterEach(async () => {
  await machine.remove();
});

describe("a system that can run Synapse", () => {
  it.each<[string, Files, string, string]>([
    ["AlmaLinux 8.4", alma("8.4"), "1.141.0", "python3.9=python39 | 13 | 1.18"],
    ["AlmaLinux 8.5", alma("8.5"), "1.141.0", "python3.9=python39 | 13 | 1.20 1.18"],
    ["AlmaLinux 8.7", alma("8.7"), "1.141.0", "python3.9=python39 | 13 | 1.20 1.18"],
    ["AlmaLinux 8.8", alma("8.8"), NEWEST, "python3.11=python3.11 | 15 | 1.22"],
    ["AlmaLinux 8.9", alma("8.9"), NEWEST, "python3.11=python3.11 | 15 | 1.22"],
    ["AlmaLinux 8.10", alma("8.10"), NEWEST, "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22"],
    ["AlmaLinux 9.2", alma("9.2"), NEWEST, "python3.11=python3.11 | 15 | 1.22"],
    ["AlmaLinux 9.3", alma("9.3"), NEWEST, "python3.11=python3.11 | 15 | 1.22"],
    ["AlmaLinux 9.4", alma("9.4"), NEWEST, "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22"],
    ["AlmaLinux 9.10", alma("9.10"), NEWEST, "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22"],
    [
      "Rocky Linux 8.10",
      osRelease("Rocky Linux", "rocky", "rhel centos fedora", "8.10"),
      NEWEST,
      "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22",
    ],
    [
      "RHEL 8.9",
      osRelease("Red Hat Enterprise Linux", "rhel", "fedora", "8.9"),
      NEWEST,
      "python3.11=python3.11 | 15 | 1.22",
    ],
    [
      "Oracle Linux 8.10",
      osRelease("Oracle Linux Server", "ol", "fedora", "8.10"),
      NEWEST,
      "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22",
    ],
    [
      "one that calls itself like RHEL",
      osRelease("CloudLinux", "cloudlinux", "rhel fedora centos", "8.9"),
      NEWEST,
      "python3.11=python3.11 | 15 | 1.22",
    ],
    ["CentOS Linux 8.4", centosLinux("8.4.2105"), "1.141.0", "python3.9=python39 | 13 | 1.18 | vault"],
    ["CentOS Linux 8.5", centosLinux("8.5.2111"), "1.141.0", "python3.9=python39 | 13 | 1.20 1.18 | vault"],
    [
      "CentOS Stream 8",
      centosStream("8"),
      NEWEST,
      "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22 | vault",
    ],
    ["CentOS Stream 9", centosStream("9"), NEWEST, "python3.12=python3.12 python3.11=python3.11 | 16 15 | 1.24 1.22"],
  ])("%s gets what its release has", async (_, files, version, expected) => {
    await machine.write(files);
    expect(choices(await machine.look(version))).toBe(expected);
  });

  it("is told by its minor release on CentOS Linux, too", async () => {
    await machine.write(centosLinux("8.5.2111"));
    expect(facts(await machine.look("1.141.0"))).toMatchObject({ os: "centos", release: "8.5" });
  });

  it("says what else the program has to know of it", async () => {
    await machine.write({ ...alma("8.9"), "proc/net/if_inet6": "" });
    await machine.command("uname", "echo aarch64");
    await machine.command("selinuxenabled", "exit 0");
    expect(facts(await machine.look(NEWEST))).toMatchObject({
      os: "almalinux",
      release: "8.9",
      architecture: "aarch64",
      selinux: true,
      ipv6: true,
    });
  });
});

describe("a system that cannot run what the stack asks for is refused in one sentence, and nothing is changed on it:", () => {
  const elsewhere = `update the machine, or use one with ${SUPPORTED_SYSTEMS}`;

  it.each<[string, Files, string, string, Variables?]>([
    [
      "CentOS Linux 8.5 and a new Synapse",
      centosLinux("8.5.2111"),
      NEWEST,
      "CentOS Linux 8.5 can run Synapse up to 1.141.0, because newer ones need a newer Python and PostgreSQL than it has, and synapse.version is 1.163.2: run 'pulumi config set --path synapse.version 1.141.0', or move the machine to AlmaLinux, Rocky Linux, RHEL or Oracle Linux, release 8.10 (each has a tool for that)",
    ],
    [
      "AlmaLinux 8.6 and a new Synapse",
      alma("8.6"),
      "1.142.0",
      "AlmaLinux 8.6 can run Synapse up to 1.141.0, because newer ones need a newer Python and PostgreSQL than it has, and synapse.version is 1.142.0: run 'pulumi config set --path synapse.version 1.141.0', or update the machine to release 8.8 or newer ('dnf upgrade')",
    ],
    [
      "AlmaLinux 8.3",
      alma("8.3"),
      "1.141.0",
      `this machine runs AlmaLinux 8.3, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "AlmaLinux 9.1",
      alma("9.1"),
      NEWEST,
      `this machine runs AlmaLinux 9.1, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "AlmaLinux 10",
      alma("10.0"),
      NEWEST,
      `this machine runs AlmaLinux 10.0, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "CentOS Linux 8.2",
      centosLinux("8.2.2004"),
      "1.141.0",
      `this machine runs CentOS Linux 8.2, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "CentOS Linux 7",
      osRelease("CentOS Linux", "centos", "rhel fedora", "7"),
      "1.141.0",
      `this machine runs CentOS Linux 7, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "Fedora",
      osRelease("Fedora Linux", "fedora", "", "44"),
      NEWEST,
      `this machine runs Fedora Linux 44, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "Debian",
      osRelease("Debian GNU/Linux", "debian", "", "12"),
      NEWEST,
      `this machine runs Debian GNU/Linux 12, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "Amazon Linux, which calls itself like RHEL",
      osRelease("Amazon Linux", "amzn", "centos rhel fedora", "2"),
      NEWEST,
      `this machine runs Amazon Linux 2, where this program cannot run Synapse: ${elsewhere}`,
    ],
    [
      "a PostgreSQL that is too old for the new Synapse",
      { ...alma("8.10"), "var/lib/pgsql/data/PG_VERSION": "13\n" },
      NEWEST,
      "PostgreSQL 13 has its data in /var/lib/pgsql/data on this machine, and Synapse 1.163.2 needs PostgreSQL 14 or newer: set synapse.version to a release before 1.143.0, for example 1.141.0, or upgrade that PostgreSQL first with 'make postgresql-upgrade STACK=ours TO=16'",
    ],
    [
      "a PostgreSQL that is too old for an old Synapse",
      { ...alma("8.10"), "var/lib/pgsql/data/PG_VERSION": "12\n" },
      "1.141.0",
      "PostgreSQL 12 has its data in /var/lib/pgsql/data on this machine, and Synapse 1.141.0 needs PostgreSQL 13 or newer: set synapse.version to a release before 1.122.0, or upgrade that PostgreSQL first with 'make postgresql-upgrade STACK=ours TO=16'",
    ],
    [
      "a PostgreSQL that is not the one that the stack names",
      { ...alma("8.10"), "var/lib/pgsql/data/PG_VERSION": "15\n" },
      NEWEST,
      "PostgreSQL 15 has its data in /var/lib/pgsql/data on this machine, and host.postgresqlVersion is 16: run 'make postgresql-upgrade STACK=ours TO=16', which takes the data along, or set host.postgresqlVersion to 15",
      { POSTGRESQL: "16" },
    ],
    [
      "a PostgreSQL that the stack names, and is too old",
      alma("8.10"),
      NEWEST,
      "host.postgresqlVersion asks for PostgreSQL 13 on this machine, and Synapse 1.163.2 needs PostgreSQL 14 or newer: set synapse.version to a release before 1.143.0, for example 1.141.0, or take that setting away",
      { POSTGRESQL: "13" },
    ],
    [
      "a PostgreSQL stream that is enabled, and too old",
      { ...alma("8.10"), ...enabled("postgresql", "10") },
      NEWEST,
      "the dnf module stream postgresql:10 is enabled on this machine, and Synapse 1.163.2 needs PostgreSQL 14 or newer: set synapse.version to a release before 1.143.0, for example 1.141.0, or run 'dnf module reset postgresql' on the machine, where nothing else needs that stream",
    ],
    [
      "a container without systemd",
      { ...alma("8.10"), "proc/1/comm": "bash\n" },
      NEWEST,
      "process 1 of this machine is not systemd, so no service can be kept running: use a full machine, not a bare container",
    ],
    [
      "a machine that another stack keeps",
      { ...alma("8.10"), "state/stack": "matrix-homeserver/theirs\n" },
      NEWEST,
      "this machine is kept by the stack matrix-homeserver/theirs already, and two stacks must not share one: set host.address to another machine, or, when that stack is gone for good, remove STATE/stack on this one",
    ],
  ])("%s", async (_, files, version, sentence, ...[variables]) => {
    await machine.write(files);
    const before = await machine.listing();
    const { code, stdout, stderr } = await machine.look(version, variables);
    expect(stderr.split("\n").filter((line) => line.startsWith("error: "))).toEqual([
      `error: ${sentence.replace("STATE", join(machine.root, "state"))}`,
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(await machine.listing()).toEqual(before);
  });

  it("an architecture without wheels", async () => {
    await machine.write(alma("8.10"));
    await machine.command("uname", "echo s390x");
    expect((await machine.look(NEWEST)).stderr).toContain(
      "error: Synapse has no prebuilt packages for this machine's architecture, s390x: use an x86_64 or aarch64 machine",
    );
  });

  it("a login user without root's rights", async () => {
    await machine.write(alma("8.10"));
    await machine.command("id", "echo 1000");
    expect((await machine.look(NEWEST)).stderr).toContain("error: the scripts must run as root: log in as root, or as");
  });

  it("a full disk", async () => {
    await machine.write(alma("8.10"));
    await machine.command("df", "printf 'Avail Mounted on\\n 500M /\\n'");
    expect((await machine.look(NEWEST, { FREE_MB: "2048" })).stderr).toContain(
      "error: only 500 MB are free for /opt on the file system /, and 2048 MB are needed: free some space, or give the machine a larger disk",
    );
  });
});

describe("what is in use already wins:", () => {
  it.each<[string, Files, string, string]>([
    ["PostgreSQL's data", { "var/lib/pgsql/data/PG_VERSION": "15\n" }, NEWEST, " | 15 | 1.24 1.22"],
    [
      "PostgreSQL's data over an enabled stream",
      { "var/lib/pgsql/data/PG_VERSION": "15\n", ...enabled("postgresql", "16") },
      NEWEST,
      " | 15 | 1.24 1.22",
    ],
    [
      "old data with a Synapse that works with them",
      { "var/lib/pgsql/data/PG_VERSION": "13\n" },
      "1.141.0",
      " | 13 | ",
    ],
    ["an enabled PostgreSQL stream", enabled("postgresql", "15"), NEWEST, " | 15 | 1.24 1.22"],
    ["an enabled nginx stream", enabled("nginx", "1.20"), NEWEST, " | 16 15 | 1.20"],
    ["but not a stream that is disabled", disabled("postgresql", "15"), NEWEST, " | 16 15 | "],
  ])("%s", async (_, files, version, expected) => {
    await machine.write({ ...alma("8.10"), ...files });
    expect(choices(await machine.look(version))).toContain(expected);
  });

  it("a PostgreSQL that the server does not use is no reason to refuse", async () => {
    await machine.write({ ...alma("8.10"), "var/lib/pgsql/data/PG_VERSION": "13\n" });
    expect((await machine.look(NEWEST, { LOCAL_DATABASE: "false" })).code).toBe(0);
  });
});

describe("of what a system may have, the best that its repositories have is taken:", () => {
  const el810 = {
    PYTHONS: "python3.12=python3.12 python3.11=python3.11",
    POSTGRESQL_STREAMS: "16 15",
    NGINX_STREAMS: "1.24 1.22",
  };

  it.each([
    ["all", ["10", "15", "16"], ["1.22 [e]", "1.24"], ["python3.11", "python3.12"], ["3.12", "3.12", "16", "1.24"]],
    ["an older mirror", ["10 [d]", "15"], ["1.14 [d]", "1.22"], ["python3.11"], ["3.11", "3.11", "15", "1.22"]],
    ["some of it", ["15", "16"], ["1.22"], ["python3.11"], ["3.11", "3.11", "16", "1.22"]],
  ])("%s", async (_, postgresql, nginx, packages, [python, pythonPackage, postgresqlStream, nginxStream]) => {
    await machine.dnfHas({ postgresql, nginx }, packages);
    const ending = await machine.repositories(el810);
    expect(facts(ending)).toEqual({
      python: `python${python}`,
      pythonPackage: `python${pythonPackage}`,
      postgresqlStream,
      nginxStream,
    });
    expect(ending.stderr).toContain(`taking python${python}, PostgreSQL ${postgresqlStream} and nginx ${nginxStream}`);
  });

  it("the package python39 has the command python3.9; what leaves no choice is not asked about", async () => {
    await machine.command("dnf", "exit 1");
    const only = { PYTHONS: "python3.9=python39", POSTGRESQL_STREAMS: "13", NGINX_STREAMS: "1.18" };
    expect(facts(await machine.repositories(only))).toEqual({
      python: "python3.9",
      pythonPackage: "python39",
      postgresqlStream: "13",
      nginxStream: "1.18",
    });
  });

  it.each([
    [
      "no stream that would do",
      { postgresql: ["10", "13"], nginx: ["1.24"] },
      "the machine's repositories have none of the postgresql streams that Synapse can be run with here (16 15), but 10 13: enable the repository that has one ('dnf repolist --all'; on EL it is AppStream), then run pulumi up again",
    ],
    [
      "no modules at all",
      {},
      "the machine's repositories have none of the postgresql streams that Synapse can be run with here (16 15), but none at all: enable",
    ],
    [
      "no Python that would do",
      { postgresql: ["16"], nginx: ["1.24"] },
      "the machine's repositories have none of the Python packages that Synapse can be run with here (python3.12 python3.11), but none at all: enable",
    ],
  ])("%s is refused", async (_, modules, sentence) => {
    await machine.dnfHas(modules, []);
    const { code, stderr } = await machine.repositories(el810);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`error: ${sentence}`) as string });
  });

  it("a dnf that fails is quoted", async () => {
    await machine.command("dnf", "echo 'Error: Failed to download metadata for repo appstream' >&2; exit 1");
    const { code, stderr } = await machine.repositories(el810);
    expect(code).toBe(1);
    expect(stderr).toBe(
      "Error: Failed to download metadata for repo appstream\nerror: dnf cannot read the machine's repositories (see above): check that they can be reached ('dnf repolist -v'), then run pulumi up again\n",
    );
  });

  it("a vault that cannot be reached is named", async () => {
    await machine.command("dnf", "exit 1");
    const { stderr } = await machine.repositories({ ...el810, VAULT_URL: VAULT });
    expect(stderr).toContain(
      `check that the machine reaches ${VAULT}, or set host.vaultUrl to a server that has the old`,
    );
  });
});

describe("repository files", () => {
  const single = { PYTHONS: "python3.9=python39", POSTGRESQL_STREAMS: "13", NGINX_STREAMS: "1.18" };
  const revive = (vaultUrl = VAULT) => machine.repositories({ ...single, VAULT_URL: vaultUrl });
  const folder = "etc/yum.repos.d";
  const linux = `${folder}/CentOS-Linux-AppStream.repo`;
  const original = `# CentOS-Linux-AppStream.repo
#
# The mirrorlist system uses the connecting IP address of the client.

[appstream]
name=CentOS Linux $releasever - AppStream
mirrorlist=http://mirrorlist.centos.org/?release=$releasever&arch=$basearch&repo=AppStream&infra=$infra
#baseurl=http://mirror.centos.org/$contentdir/$releasever/AppStream/$basearch/os/
gpgcheck=1
enabled=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial
`;
  const revived = (vaultUrl: string) => `# CentOS-Linux-AppStream.repo
#
# The mirrorlist system uses the connecting IP address of the client.

[appstream]
name=CentOS Linux $releasever - AppStream
#mirrorlist=http://mirrorlist.centos.org/?release=$releasever&arch=$basearch&repo=AppStream&infra=$infra
#baseurl=http://mirror.centos.org/$contentdir/$releasever/AppStream/$basearch/os/
# Set by matrix-homeserver, because CentOS's mirrors have given this up:
baseurl=${vaultUrl}/$contentdir/$releasever/AppStream/$basearch/os/
gpgcheck=1
enabled=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial
`;

  it("of CentOS Linux name the vault, and a copy of each stays", async () => {
    await machine.write({ [linux]: original });
    await chmod(join(machine.root, linux), 0o640);
    const { code, stderr } = await revive();
    expect(code).toBe(0);
    expect(stderr).toContain(
      `CentOS's mirrors have given this system up: CentOS-Linux-AppStream.repo names ${VAULT} now; as it was, it is in CentOS-Linux-AppStream.repo.before-matrix-homeserver`,
    );
    expect(await machine.read(linux)).toBe(revived(VAULT));
    expect(await machine.read(`${linux}.before-matrix-homeserver`)).toBe(original);
    expect((await stat(join(machine.root, linux))).mode & 0o777).toBe(0o640);
  });

  it("stay as they are the second time", async () => {
    await machine.write({ [linux]: original });
    await revive();
    const before = await machine.listing();
    const { stderr } = await revive();
    expect(stderr).not.toContain("given this system up");
    expect(await machine.listing()).toEqual(before);
    expect(await machine.read(linux)).toBe(revived(VAULT));
  });

  it("take another vault in the place of the first, with or without a slash, and the copy stays the first", async () => {
    await machine.write({ [linux]: original });
    await revive();
    await revive("http://mirror.example.com/vault/");
    expect(await machine.read(linux)).toBe(revived("http://mirror.example.com/vault"));
    expect(await machine.read(`${linux}.before-matrix-homeserver`)).toBe(original);
  });

  it("of CentOS Stream 8 do likewise, every section by its own path", async () => {
    const section = (name: string) => `[${name}]
mirrorlist=http://mirrorlist.centos.org/?release=$stream&arch=$basearch&repo=${name}&infra=$infra
#baseurl=http://mirror.centos.org/$contentdir/$stream/${name}/$basearch/os/
`;
    await machine.write({ [`${folder}/CentOS-Stream-Two.repo`]: section("AppStream") + section("BaseOS") });
    await revive();
    const lines = (await machine.read(`${folder}/CentOS-Stream-Two.repo`)).split("\n");
    expect(lines.filter((line) => /^(baseurl|mirrorlist)/.test(line))).toEqual([
      `baseurl=${VAULT}/$contentdir/$stream/AppStream/$basearch/os/`,
      `baseurl=${VAULT}/$contentdir/$stream/BaseOS/$basearch/os/`,
    ]);
  });

  it("with a dead baseurl in use, and blanks around the equals sign, are mended as well", async () => {
    const file = `${folder}/CentOS-Base.repo`;
    await machine.write({ [file]: "[base]\nbaseurl = http://mirror.centos.org/centos/8/BaseOS/x86_64/os/\n" });
    await revive();
    expect(await machine.read(file)).toBe(
      `[base]\n#baseurl = http://mirror.centos.org/centos/8/BaseOS/x86_64/os/\n# Set by matrix-homeserver, because CentOS's mirrors have given this up:\nbaseurl=${VAULT}/centos/8/BaseOS/x86_64/os/\n`,
    );
  });

  it.each<[string, string, string]>([
    [
      "an administrator's own mirror",
      "CentOS-Linux-BaseOS.repo",
      "[baseos]\n#mirrorlist=http://mirrorlist.centos.org/?repo=BaseOS\n#baseurl=http://mirror.centos.org/$contentdir/$releasever/BaseOS/\nbaseurl=http://mirror.example.com/8/BaseOS/\n",
    ],
    [
      "a vault that an administrator has set",
      "CentOS-Linux-BaseOS.repo",
      "[baseos]\n#mirrorlist=http://mirrorlist.centos.org/?repo=BaseOS\nbaseurl=http://vault.centos.org/$contentdir/$releasever/BaseOS/\n",
    ],
    [
      "somebody else's repository",
      "epel.repo",
      "[epel]\nmirrorlist=http://mirrorlist.centos.org/?repo=epel\n#baseurl=http://mirror.centos.org/epel/\n",
    ],
    [
      "a section that does not say where its packages were",
      "CentOS-Linux-Extras.repo",
      "[extras]\nmirrorlist=http://mirrorlist.centos.org/?repo=extras\n",
    ],
    [
      "a server of CentOS that is no mirror",
      "CentOS-Linux-Debuginfo.repo",
      "[debuginfo]\nbaseurl=http://debuginfo.centos.org/8/$basearch/\n",
    ],
  ])("leave %s alone", async (_, file, content) => {
    await machine.write({ [`${folder}/${file}`]: content });
    await revive();
    expect(await machine.read(`${folder}/${file}`)).toBe(content);
    expect(await readdir(join(machine.root, folder))).toEqual([file]);
  });

  it("with an administrator's mirror beside the dead list lose the list only", async () => {
    const file = `${folder}/CentOS-Linux-BaseOS.repo`;
    const own = "baseurl=http://mirror.example.com/8/BaseOS/\n";
    await machine.write({ [file]: `[baseos]\nmirrorlist=http://mirrorlist.centos.org/?repo=BaseOS\n${own}` });
    await revive();
    expect(await machine.read(file)).toBe(`[baseos]\n#mirrorlist=http://mirrorlist.centos.org/?repo=BaseOS\n${own}`);
  });

  it("of a system whose mirrors are alive are left alone", async () => {
    await machine.write({ [linux]: original });
    await machine.repositories({ ...single, VAULT_URL: "" });
    expect(await machine.read(linux)).toBe(original);
  });

  it("are mended before dnf is asked", async () => {
    await machine.write({ [linux]: original });
    await machine.command(
      "dnf",
      `grep -q "^baseurl=${VAULT}" "$machine_root/${linux}" && echo 'nginx 1.18' || { echo 'No URLs in mirrorlist'; exit 1; }`,
    );
    const { stdout } = await machine.repositories({ ...single, NGINX_STREAMS: "1.20 1.18", VAULT_URL: VAULT });
    expect(JSON.parse(stdout)).toMatchObject({ nginxStream: "1.18" });
  });
});

/** A machine that lies in a folder, with commands of its own. */
class FakeMachine {
  private constructor(readonly root: string) {}

  static async create(): Promise<FakeMachine> {
    const fake = new FakeMachine(await mkdtemp(join(tmpdir(), "machine-")));
    await fake.write({ "proc/1/comm": "systemd\n", "opt/.keep": "", "var/.keep": "" });
    await fake.command("id", "echo 0");
    await fake.command("uname", "echo x86_64");
    await fake.command("cloud-init", "exit 0");
    await fake.command("selinuxenabled", "exit 1");
    await fake.command("dnf", "echo 'Error: nobody said what dnf has here' >&2; exit 1");
    return fake;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true });
  }

  async write(files: Files): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(this.root, dirname(path)), { recursive: true });
      await writeFile(join(this.root, path), content);
    }
  }

  async read(path: string): Promise<string> {
    return await readFile(join(this.root, path), "utf8");
  }

  /** Every file with its size and its time. */
  async listing(): Promise<string[]> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    return await Promise.all(
      files.sort().map(async (file) => {
        const { size, mtimeMs } = await stat(file);
        return `${file} ${size} ${mtimeMs}`;
      }),
    );
  }

  async command(name: string, script: string): Promise<void> {
    await this.write({ [`commands/${name}`]: `#!/usr/bin/env bash\n${script}\n` });
    await chmod(join(this.root, "commands", name), 0o755);
  }

  /** dnf as it would answer with these streams and packages. */
  async dnfHas(modules: Readonly<Record<string, readonly string[]>>, packages: readonly string[]): Promise<void> {
    const table = Object.entries(modules).flatMap(([name, streams]) =>
      streams.map((stream) => `${name}  ${stream}  common [d]  Summary`),
    );
    const list = ["Some repository", "Name  Stream  Profiles  Summary", ...table, "", "Hint: [d]efault, [e]nabled"];
    await this.command(
      "dnf",
      `case "$*" in
*"module list"*) cat <<'LIST'\n${list.join("\n")}\nLIST\n;;
*repoquery*) printf '%s\\n' ${packages.join(" ")} ;;
esac`,
    );
  }

  async look(synapseVersion: string, variables: Variables = {}): Promise<Ending> {
    return await this.run("host.sh", {
      PLATFORMS: platformLines(PLATFORMS),
      POSTGRESQL_NEEDS: postgresqlNeedLines(POSTGRESQL_NEEDS),
      SUPPORTED_SYSTEMS,
      SYNAPSE_VERSION: synapseVersion,
      LOCAL_DATABASE: "true",
      POSTGRESQL: "",
      FREE_MB: "1",
      UPDATE_FREE_MB: "1",
      STACK: "matrix-homeserver/ours",
      STATE: join(this.root, "state"),
      ...variables,
    });
  }

  async repositories(variables: Variables): Promise<Ending> {
    return await this.run("repositories.sh", { VAULT_URL: "", ...variables });
  }

  private async run(script: string, variables: Variables): Promise<Ending> {
    const env = { PATH: `${join(this.root, "commands")}:/usr/sbin:/usr/bin:/sbin:/bin`, machine_root: this.root };
    return await new Promise((resolve) => {
      const child = execFile("bash", ["-s"], { env }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      });
      child.stdin?.end(composeScript(readScript(script), variables));
    });
  }
}

function osRelease(name: string, id: string, idLike: string, versionId: string): Files {
  return { "etc/os-release": `NAME="${name}"\nID="${id}"\nID_LIKE="${idLike}"\nVERSION_ID="${versionId}"\n` };
}

function enabled(module: string, stream: string): Files {
  return {
    [`etc/dnf/modules.d/${module}.module`]: `[${module}]\nname=${module}\nstream=${stream}\nprofiles=\nstate=enabled\n`,
  };
}

function disabled(module: string, stream: string): Files {
  return {
    [`etc/dnf/modules.d/${module}.module`]: `[${module}]\nname=${module}\nstream=${stream}\nprofiles=\nstate=disabled\n`,
  };
}

function facts({ code, stdout, stderr }: Ending): Record<string, unknown> {
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

function choices(ending: Ending): string {
  const { pythons, postgresqlStreams, nginxStreams, vaultOnly } = facts(ending);
  return [pythons, postgresqlStreams, nginxStreams, ...(vaultOnly === true ? ["vault"] : [])].join(" | ");
}
