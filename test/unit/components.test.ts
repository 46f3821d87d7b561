/*
 * Each component on its own: what it registers, with which parent and after what, what is secret, and what its scripts are
 * told. An expectation is a line a resource, as `lineOf` writes it. Not proven here: what the scripts do on a machine.
 */
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";

import { AcmeCertificate } from "../../components/AcmeCertificate";
import { AdminUser } from "../../components/AdminUser";
import { Adoption } from "../../components/Adoption";
import { Backup } from "../../components/Backup";
import { BackupStore } from "../../components/BackupStore";
import { BaseSystem } from "../../components/BaseSystem";
import { CloudInit } from "../../components/CloudInit";
import { ExternalDatabase } from "../../components/ExternalDatabase";
import { HealthCheck } from "../../components/HealthCheck";
import { HomeserverConfig, type HomeserverConfigArgs } from "../../components/HomeserverConfig";
import { Host } from "../../components/Host";
import { LastBackup } from "../../components/LastBackup";
import type { Machine } from "../../components/Machine";
import { NginxProxy } from "../../components/NginxProxy";
import { PostgresDb } from "../../components/PostgresDb";
import { Remains } from "../../components/Remains";
import { PythonVenv, toolArgs } from "../../components/PythonVenv";
import { RemoteFile } from "../../components/RemoteFile";
import { RemoteScript } from "../../components/RemoteScript";
import { SchemaCheck } from "../../components/SchemaCheck";
import { lockedVersions, SynapseVenv } from "../../components/SynapseVenv";
import { SystemdService } from "../../components/SystemdService";
import { SystemUser } from "../../components/SystemUser";
import { Redis } from "../../components/Redis";
import { SynapseWorker } from "../../components/SynapseWorker";
import { SystemdUnit } from "../../components/SystemdUnit";
import { TimedProgram } from "../../components/TimedProgram";
import { TlsCertificate } from "../../components/TlsCertificate";
import { WellKnown } from "../../components/WellKnown";
import {
  COMMAND,
  deploy,
  FACTS,
  fakeMachine,
  generated,
  lineOf,
  mistold,
  openTexts,
  plain,
  readScriptFile,
  scriptCalls,
  Secret,
  STACK,
  wordsOf,
  type Deployment,
  type Registered,
} from "./mocks";

const VERSION = lockedVersions().at(-1) ?? "";
const DB_PASSWORD = "correct horse 'battery' $taple";
const ADMIN_PASSWORD = "wrong horse; staple";
const TLS_KEY = "-----BEGIN PRIVATE KEY-----\nMIIkept\n-----END PRIVATE KEY-----\n";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nshown\n-----END CERTIFICATE-----\n";
const SECRETS = ["correct horse", ADMIN_PASSWORD, "MIIkept", "generated-", "the private key"];
const DATABASE = { host: "/var/run/postgresql", port: 5432, name: "synapse", user: "synapse" };
/** What a TimedProgram and its children are, after something. */
const timed = (name: string, unit: string, after: string, program = unit) => ({
  [name]: "TimedProgram",
  [`${name}-program`]: `file /usr/local/libexec/matrix-homeserver/${program} root:root 0755; after ${after}; undone by rm -f /usr/local/libexec/matrix-homeserver/${program}`,
  [`${name}-activation`]: `timer.sh; after ${name}-program, ready; undone by remove-service.sh`,
});

const STORE_SECRET = "the store's secret key";
const STORE = {
  endpoint: "https://s3.example.com:9000",
  bucket: "backups",
  accessKeyId: "id",
  secretAccessKey: STORE_SECRET,
  keep: 5,
} as const;
/** A program of root's from a lock, all after `after`. */
const tool = (name: string, program: string, after: string) => ({
  [name]: "PythonVenv",
  [`${name}-packages`]: `packages.sh; after ${after}`,
  [`${name}-requirements`]: `file /usr/local/lib/matrix-homeserver/${program}/requirements.txt root:root 0644; after ${after}; undone by rm -f /usr/local/lib/matrix-homeserver/${program}/requirements.txt`,
  [`${name}-install`]: `python-venv.sh; after ${name}-packages, ${name}-requirements, ready; undone by remove-releases.sh`,
});
const toolNames = (name: string) => [`${name}-install`, `${name}-packages`, `${name}-requirements`].join(", ");

const TIMED = { CONFIGURATION: "it's", REPLACED: "", BEFORE: "/before" };
const ACME = { mode: "acme", email: "a@example.com", directory: "https://acme.example/" } as const;

/** What a component is made with. */
interface Setting {
  readonly host: Machine;
  readonly user: SystemUser;
  /** The value as a fact of the machine, which a first preview does not know. */
  readonly fact: <T>(value: T) => pulumi.Output<T>;
  readonly opts: pulumi.ComponentResourceOptions;
}

/** Every component, named "it", with no more arguments than it must have. */
const COMPONENTS = {
  Host: ({ opts }) =>
    new Host("it", { address: "192.0.2.1", hostKey: "ssh-ed25519 AAAA", stack: "p/s", synapseVersion: VERSION }, opts),
  SystemUser: ({ host, opts }) => new SystemUser("it", { host, userName: "someone", home: "/srv/someone" }, opts),
  BaseSystem: ({ host, opts }) => new BaseSystem("it", { host, open: ["http"] }, opts),
  PostgresDb: ({ host, fact, opts }) => new PostgresDb("it", { host, stream: fact("16"), password: DB_PASSWORD }, opts),
  ExternalDatabase: ({ host, fact, opts }) =>
    new ExternalDatabase(
      "it",
      { host, stream: fact("16"), password: DB_PASSWORD, address: { ...DATABASE, host: "db.example.com" } },
      opts,
    ),
  PythonVenv: ({ host, fact, opts }) =>
    new PythonVenv(
      "it",
      toolArgs("s3cmd", "import S3", { host, python: fact("python3.12"), pythonPackage: fact("python3.12") }),
      opts,
    ),
  SynapseVenv: ({ host, user, fact, opts }) =>
    new SynapseVenv(
      "it",
      { host, user, version: VERSION, python: fact("python3.12"), pythonPackage: fact("python3.12") },
      opts,
    ),
  HomeserverConfig: ({ host, user, fact, opts }) =>
    new HomeserverConfig(
      "it",
      {
        host,
        user,
        serverName: "example.com",
        publicBaseUrl: "https://matrix.example.com",
        database: { ...DATABASE, password: DB_PASSWORD },
        release: fact("/opt/synapse/releases/1"),
      },
      opts,
    ),
  SchemaCheck: ({ host, user, fact, opts }) =>
    new SchemaCheck(
      "it",
      {
        host,
        user,
        release: fact("/opt/synapse/releases/1"),
        version: "1.2.3",
        database: DATABASE,
        otherwise: "It is shut out.",
      },
      opts,
    ),
  SystemdService: ({ host, user, fact, opts }) =>
    new SystemdService(
      "it",
      {
        host,
        unit: "unit",
        description: "A service",
        user,
        command: "/bin/true",
        writable: ["/opt/synapse/data"],
        files: [],
        link: "/opt/synapse/env",
        release: fact("/opt/synapse/releases/1"),
        restartOn: "",
        healthUrl: "http://127.0.0.1/health",
      },
      opts,
    ),
  "TlsCertificate, selfsigned": ({ host, opts }) =>
    new TlsCertificate("it", { host, names: ["example.com"], source: { mode: "selfsigned" } }, opts),
  "TlsCertificate, provided": ({ host, opts }) =>
    new TlsCertificate(
      "it",
      { host, names: ["example.com"], source: { mode: "provided", certificate: CERTIFICATE, key: TLS_KEY } },
      opts,
    ),
  "TlsCertificate, acme": ({ host, opts }) =>
    new TlsCertificate("it", { host, names: ["example.com"], source: ACME }, opts),
  AcmeCertificate: ({ host, fact, opts }) =>
    new AcmeCertificate(
      "it",
      {
        host,
        certificate: new TlsCertificate("tls", { host, names: ["example.com"], source: ACME }),
        email: "a@example.com",
        directory: "https://acme.example/",
        python: fact("python3.12"),
        pythonPackage: fact("python3.12"),
      },
      opts,
    ),
  TimedProgram: ({ host, opts }) =>
    new TimedProgram(
      "it",
      { host, unit: "unit", description: "A program", script: "nginx.sh", variables: TIMED },
      opts,
    ),
  BackupStore: ({ host, fact, opts }) =>
    new BackupStore(
      "it",
      {
        host,
        serverName: "example.com",
        store: STORE,
        python: fact("python3.12"),
        pythonPackage: fact("python3.12"),
      },
      opts,
    ),
  Backup: ({ host, user, opts }) =>
    new Backup(
      "it",
      {
        host,
        user,
        serverName: "example.com",
        adminUserId: "@admin:example.com",
        link: "/opt/synapse/env",
        unit: "synapse",
        healthUrl: "http://127.0.0.1:8008/health",
        database: DATABASE,
        recipient: "a public key",
        directory: "/mnt/backups",
        schedule: "daily",
        keep: 3,
      },
      opts,
    ),
  WellKnown: ({ host, opts }) => new WellKnown("it", { host, publicBaseUrl: "https://matrix.example.com" }, opts),
  NginxProxy: (setting) => nginx(setting),
  AdminUser: ({ host, user, opts }) =>
    new AdminUser(
      "it",
      {
        host,
        user,
        localpart: "admin",
        serverName: "example.com",
        password: ADMIN_PASSWORD,
        config: "/opt/synapse/homeserver.yaml",
        link: "/opt/synapse/env",
        synapseUrl: "http://127.0.0.1:8008",
      },
      opts,
    ),
  HealthCheck: ({ host, opts }) =>
    new HealthCheck(
      "it",
      { host, serverName: "example.com", publicBaseUrl: "https://matrix.example.com", caPath: "", revision: "1" },
      opts,
    ),
  Remains: ({ host, opts }) =>
    new Remains(
      "it",
      {
        host,
        purge: false,
        serverName: "example.com",
        userName: "synapse",
        home: "/opt/synapse",
        database: { name: "synapse", user: "synapse" },
        folders: ["/etc/pki/it"],
      },
      opts,
    ),
  "Remains, purged": ({ host, opts }) =>
    new Remains(
      "it",
      {
        host,
        purge: true,
        serverName: "example.com",
        userName: "synapse",
        home: "/opt/synapse",
        folders: ["/etc/pki/it"],
      },
      opts,
    ),
  LastBackup: ({ host, opts }) => new LastBackup("it", { host, unit: "synapse" }, opts),
  Redis: ({ host, opts }) => new Redis("it", { host, unit: "news" }, opts),
  SystemdUnit: ({ host, opts }) =>
    new SystemdUnit(
      "it",
      {
        ...{ host, unit: "unit", description: "A service", user: "someone", workingDirectory: "/srv" },
        ...{ command: "/bin/true", reads: "its files", probe: "true" },
      },
      opts,
    ),
  SynapseWorker: ({ host, user, opts }) =>
    new SynapseWorker(
      "it",
      {
        ...{ host, user, mainUnit: "synapse", link: "/opt/synapse/env", config: "/opt/synapse/homeserver.yaml" },
        worker: { name: "generic1", kind: "generic", port: 8101, resources: ["client", "federation"] },
      },
      opts,
    ),
  Adoption: ({ host, user, opts }) =>
    new Adoption(
      "it",
      {
        host,
        user,
        serverName: "example.com",
        unit: "matrix-synapse",
        environment: "/opt/synapse/env",
        signingKey: "/opt/synapse/example.com.signing.key",
        mediaStore: "/opt/synapse/media_store",
        becomes: "synapse",
        healthUrl: "http://127.0.0.1:8008/health",
        kept: "/kept",
      },
      opts,
    ),
  CloudInit: ({ opts }) => new CloudInit("it", { hostname: "example.com", authorizedKeys: ["ssh-ed25519 AAAA"] }, opts),
} satisfies Record<string, (setting: Setting) => pulumi.ComponentResource>;

type ComponentName = keyof typeof COMPONENTS;
const NAMES = Object.keys(COMPONENTS) as ComponentName[];
/** It makes itself what the others wait for. */
const WITHOUT_MACHINE: ComponentName[] = ["Host", "CloudInit"];

interface Alone {
  readonly preview?: boolean;
  readonly asRoot?: string;
  /** Give the component a dependency of its own, the command "other". */
  readonly afterOther?: boolean;
}

function nginx({ host, fact, opts }: Setting, ipv6 = true): NginxProxy {
  return new NginxProxy(
    "it",
    {
      host,
      stream: fact("1.24"),
      ipv6: fact(ipv6),
      serverName: "example.com",
      domains: ["matrix.example.com"],
      upstreamPort: 8008,
      certificate: new TlsCertificate("tls", { host, names: ["example.com"], source: { mode: "selfsigned" } }),
      wellKnown: new WellKnown("well-known", { host, publicBaseUrl: "https://matrix.example.com" }),
    },
    opts,
  );
}

/** Deploys one component, and what its arguments ask for: the command "ready" and the account "user". */
function deployAlone(
  make: (setting: Setting) => unknown,
  { preview, asRoot, afterOther = false }: Alone = {},
): Promise<Deployment> {
  return deploy(
    () => {
      const host = fakeMachine(asRoot);
      make({
        host,
        user: new SystemUser("user", { host, userName: "synapse", home: "/opt/synapse" }),
        fact: (value) => (host.ready as remote.Command).stdout.apply(() => value),
        opts: afterOther ? { dependsOn: new remote.Command("other", { connection: host.connection }) } : {},
      });
    },
    { preview: preview ?? false },
  );
}

/** What "it" made: a line each. */
function shapeOf({ resources }: Deployment): Record<string, string> {
  return Object.fromEntries(resources.filter(({ name }) => name.startsWith("it-")).map((r) => [r.name, lineOf(r)]));
}

/** The variables that the script of a resource gets. */
function told(deployment: Deployment, name: string): Record<string, string> {
  return { ...scriptCalls(deployment.get(name))[0]?.variables };
}

describe.each(NAMES)("%s", (component) => {
  const make: (setting: Setting) => unknown = COMPONENTS[component];
  let update: Deployment;

  beforeAll(async () => {
    update = await deployAlone(make);
  });

  it("is a component of the stack, with a type of this project's and outputs that it registered", () => {
    const it = update.get("it");
    expect(it).toMatchObject({
      type: `matrix-homeserver:index:${component.replace(/,.*/, "")}`,
      custom: false,
      parent: "matrix-homeserver-test",
      inputs: {},
    });
    expect(it.outputs).toBeDefined();
  });

  it("makes children only, each named after its parent", () => {
    const made = update.resources.filter(({ type, name }) => type !== STACK && name !== "it" && !isGiven(name));
    expect(made).toEqual(children(update));
    for (const { name, parent } of made) expect(name.startsWith(`${parent}-`)).toBe(true);
  });

  it("makes commands that are quiet, tell nothing of earlier ones, and are never replaced", () => {
    for (const { type, inputs, options } of children(update)) {
      if (type !== COMMAND) continue;
      expect(inputs).toMatchObject({ logging: "stderr", addPreviousOutputInEnv: false });
      expect(Object.keys(inputs)).not.toContain("triggers");
      expect(Object.keys(inputs)).not.toContain("environment");
      expect(inputs.connection).toBeInstanceOf(Secret);
      expect(options).toEqual({ additionalSecretOutputs: ["connection"] });
    }
  });

  it("has no secret in a command line or in anything else that is shown", () => {
    for (const { inputs, outputs } of update.resources) {
      expect(inputs.create ?? "").not.toBeInstanceOf(Secret);
      expect(inputs.delete ?? "").not.toBeInstanceOf(Secret);
      const shown = openTexts([inputs, outputs]).join("\n");
      expect(SECRETS.filter((secret) => shown.includes(secret))).toEqual([]);
    }
  });

  it("tells its scripts what they ask for, and nothing else", () => {
    expect(children(update).flatMap(scriptCalls).flatMap(mistold)).toEqual([]);
  });

  it("makes the same resources, with the same parents and in the same order, in a first preview, where no fact is known", async () => {
    const preview = await deployAlone(make, { preview: true });
    expect(skeleton(preview)).toEqual(skeleton(update));
  });

  if (component !== "CloudInit") {
    it("waits for what it is told to depend on", async () => {
      const deployment = await deployAlone(make, { afterOther: true });
      const early = children(deployment).filter(
        ({ type, name }) => type === COMMAND && !waitsFor(deployment, name, "other"),
      );
      expect(early.map(({ name }) => name)).toEqual(
        // What only a check needs must not hold up the rest: of the configuration, of the unit.
        { HomeserverConfig: ["it-signing-key", "it-secrets"], SystemdService: ["it-unit"] }[component as string] ?? [],
      );
    });
  }

  if (!WITHOUT_MACHINE.includes(component)) {
    it("does nothing on a machine before that was found fit", () => {
      for (const child of children(update)) if (child.type === COMMAND) expect(child.dependsOn).toContain("ready");
    });

    it("becomes root only where it has to", async () => {
      const lines = (deployment: Deployment) =>
        children(deployment).flatMap(({ type, inputs }) =>
          type === COMMAND
            ? [inputs.create, inputs.delete].flatMap((line) => (line === undefined ? [] : plain(line)))
            : [],
        );
      expect(lines(update).filter((line) => line.includes("sudo"))).toEqual([]);
      const asUser = await deployAlone(make, { asRoot: "sudo -n " });
      expect(lines(asUser)).toEqual(lines(update).map((line) => `sudo -n ${line}`));
    });
  }
});

test("every component of the folder is among these, but the whole, which the program's test has", () => {
  const folder = resolve(__dirname, "../../components");
  const components = readdirSync(folder).filter((file) =>
    /extends (pulumi\.ComponentResource|PythonVenv)\b/.test(readFileSync(resolve(folder, file), "utf8")),
  );
  const tested = new Set(NAMES.map((name) => `${name.replace(/,.*/, "")}.ts`));
  expect([...tested, "Homeserver.ts"].sort()).toEqual(components.sort());
});

/** What "it" made, at any depth. */
function children({ resources }: Deployment): Registered[] {
  const isBelow = ({ parent }: Registered): boolean =>
    parent === "it" || resources.some((resource) => resource.name === parent && isBelow(resource));
  return resources.filter(isBelow);
}

/** What the components are made with here. */
function isGiven(name: string): boolean {
  return /^(ready|other|user|tls|well-known)(-|$)/.test(name);
}

function skeleton({ resources }: Deployment): unknown {
  return resources
    .map(({ name, type, parent, dependsOn }) => ({ name, type, parent, dependsOn }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

function waitsFor(deployment: Deployment, name: string, awaited: string): boolean {
  const { dependsOn } = deployment.get(name);
  return dependsOn.includes(awaited) || dependsOn.some((earlier) => waitsFor(deployment, earlier, awaited));
}

describe("Host", () => {
  it("looks at the machine before it changes anything, and undoes with that what the program remembers there", async () => {
    const deployment = await deployAlone(COMPONENTS.Host);
    expect(shapeOf(deployment)).toEqual({
      "it-facts": "host.sh; undone by remove-paths.sh",
      "it-claim": "claim.sh; after it-facts",
      "it-repositories": "repositories.sh; after it-claim, it-facts",
    });
    expect(deployment.get("it").outputs).toEqual({ facts: FACTS });
    expect(told(deployment, "it-facts")).toMatchObject({
      STACK: "p/s",
      SYNAPSE_VERSION: VERSION,
      STATE: "/etc/matrix-homeserver",
    });
    expect(told(deployment, "it-claim")).toEqual({
      STACK: "p/s",
      STATE: "/etc/matrix-homeserver",
      LIBEXEC: "/usr/local/libexec/matrix-homeserver",
      INSTALL_FILE: readScriptFile("install-file.sh"),
    });
  });

  it("logs in as root on port 22, to the machine with that host key only, and waits some minutes for a machine that boots", async () => {
    const { inputs } = (await deployAlone(COMPONENTS.Host)).get("it-facts");
    expect(inputs.connection).toEqual(
      new Secret({
        host: "192.0.2.1",
        port: 22,
        user: "root",
        hostKey: "ssh-ed25519 AAAA",
        dialErrorLimit: 20,
        perDialTimeout: 5,
      }),
    );
    expect(inputs.create).toMatch(/^timeout /);
  });

  it("becomes root by sudo when it logs in as somebody else", async () => {
    const deployment = await deploy(() => {
      const host = new Host("it", {
        address: "192.0.2.1",
        port: 2222,
        user: "cloud-user",
        hostKey: "ssh-ed25519 AAAA",
        privateKey: "the private key",
        stack: "p/s",
        synapseVersion: VERSION,
      });
      expect(host.asRoot).toBe("sudo -n ");
    });
    const { inputs } = deployment.get("it-facts");
    const { value } = inputs.connection as Secret;
    expect(value).toMatchObject({ port: 2222, user: "cloud-user", privateKey: "the private key" });
    expect(inputs.create).toMatch(/^sudo -n timeout /);
    expect(inputs.delete).toMatch(/^sudo -n bash -c /);
  });
});

test("a SystemUser is one account, with folders of its own", async () => {
  const deployment = await deployAlone(({ host }) => {
    new SystemUser("it", { host, userName: "someone", home: "/srv/someone", privateFolders: ["one", "two"] });
  });
  expect(shapeOf(deployment)).toEqual({ "it-account": "system-user.sh; after ready" });
  expect(told(deployment, "it-account")).toEqual({
    USER_NAME: "someone",
    HOME_FOLDER: "/srv/someone",
    FOLDERS: "one two",
  });
  expect(deployment.get("it").outputs).toEqual({ userName: "someone", home: "/srv/someone" });
});

test("a BaseSystem is a firewall, which is closed again, and SELinux", async () => {
  const deployment = await deployAlone(({ host }) => {
    new BaseSystem("it", {
      host,
      open: ["http", "8448/tcp"],
      selinuxBooleans: ["one", "two"],
      selinuxWebPorts: [8448],
    });
  });
  expect(shapeOf(deployment)).toEqual({
    "it-packages": "packages.sh; after ready",
    "it-firewall": "firewall.sh; after it-packages, ready; undone by firewall-close.sh",
    "it-selinux": "selinux.sh; after ready",
  });
  expect(told(deployment, "it-packages").PACKAGES).toBe("firewalld");
  expect(told(deployment, "it-firewall").OPEN).toBe("http 8448/tcp");
  expect(told(deployment, "it-selinux")).toEqual({ BOOLEANS: "one two", WEB_PORTS: "8448" });
  expect(deployment.get("it").outputs).toEqual({});
});

describe("PostgresDb", () => {
  it("is packages, a cluster and a database, whose data nothing removes", async () => {
    const deployment = await deployAlone(COMPONENTS.PostgresDb);
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-cluster": "postgresql-cluster.sh; after it-packages, ready",
      "it-database": "postgresql-database.sh; secret stdin; after it-cluster, ready",
    });
    expect(told(deployment, "it-packages")).toEqual({
      MODULES: "postgresql:16",
      PACKAGES: "postgresql-server postgresql",
      GROUPS_WANTED: "",
    });
    expect(told(deployment, "it-database")).toEqual({
      ...{ DATABASE: "synapse", ROLE: "synapse", SOCKET_FOLDER: DATABASE.host },
      PASSWORD: DB_PASSWORD,
    });
    expect(deployment.get("it").outputs).toEqual({ address: DATABASE });
  });

  it("has the names that it is given, everywhere", async () => {
    const deployment = await deployAlone(({ host }) => {
      const { address } = new PostgresDb("it", { host, stream: "15", password: "p", database: "d", role: "r" });
      expect(address).toEqual({ ...DATABASE, name: "d", user: "r" });
    });
    expect(told(deployment, "it-cluster")).toEqual({ DATABASE: "d", ROLE: "r" });
    expect(told(deployment, "it-database")).toEqual({
      ...{ DATABASE: "d", ROLE: "r", SOCKET_FOLDER: DATABASE.host },
      PASSWORD: "p",
    });
  });
});

describe("SynapseVenv", () => {
  const install =
    "python-venv.sh; after it-packages, it-requirements, ready, user-account; undone by remove-releases.sh";

  it("is packages, a lock and an environment named after both", async () => {
    const deployment = await deployAlone(COMPONENTS.SynapseVenv);
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-requirements":
        "file /var/lib/matrix-homeserver/synapse-requirements.txt root:root 0644; after ready; undone by rm -f /var/lib/matrix-homeserver/synapse-requirements.txt",
      "it-install": install,
    });
    const { RELEASE, LINK, NO_BINARY, INDEX_URL } = told(deployment, "it-install");
    expect(RELEASE).toMatch(new RegExp(`^/opt/synapse/releases/${VERSION}-[0-9a-f]{12}$`));
    expect({ LINK, NO_BINARY, INDEX_URL }).toEqual({ LINK: "/opt/synapse/env", NO_BINARY: "", INDEX_URL: "" });
    expect(told(deployment, "it-packages").PACKAGES).toBe("python3.12");
    expect(deployment.get("it").outputs).toEqual({ release: RELEASE, link: LINK });
    expect(deployment.get("it-requirements").inputs.stdin).toContain(`matrix-synapse==${VERSION}`);
  });

  it("compiles on the machine when asked to, with what that takes", async () => {
    const source = (setting: Setting) =>
      new SynapseVenv("it", {
        ...setting,
        version: VERSION,
        python: "p3",
        pythonPackage: "pkg3",
        buildFromSource: true,
      });
    const deployment = await deployAlone(source);
    expect(Object.keys(shapeOf(deployment))).toEqual(["it-packages", "it-requirements", "it-install"]);
    const { PACKAGES, GROUPS_WANTED } = told(deployment, "it-packages");
    expect(PACKAGES?.split(" ")).toEqual(
      expect.arrayContaining(["pkg3", "pkg3-devel", "libpq-devel", "libtiff-devel"]),
    );
    expect(GROUPS_WANTED).toBe("Development Tools");
    expect(told(deployment, "it-install").NO_BINARY).toBe("psycopg2,pillow");
    const wheels = await deployAlone(COMPONENTS.SynapseVenv);
    expect(told(deployment, "it-install").RELEASE).not.toBe(told(wheels, "it-install").RELEASE);
  });

  it("has a release of its own for another Python", async () => {
    const release = async (python: string) =>
      told(
        await deployAlone(
          (setting) => new SynapseVenv("it", { ...setting, version: VERSION, python, pythonPackage: "p" }),
        ),
        "it-install",
      ).RELEASE;
    expect(await release("python3.11")).not.toBe(await release("python3.12"));
    expect(await release("python3.11")).toBe(await release("python3.11"));
  });

  it("refuses a version that nobody locked, and names those that somebody did", async () => {
    const deployment = deployAlone(
      (setting) => new SynapseVenv("it", { ...setting, version: "0.0.1", python: "p", pythonPackage: "p" }),
    );
    await expect(deployment).rejects.toBeInstanceOf(pulumi.InputPropertyError);
    await expect(deployment).rejects.toMatchObject({
      propertyPath: "version",
      reason: expect.stringContaining(lockedVersions().join(", ")) as string,
    });
  });
});

describe("HomeserverConfig", () => {
  it("is a key, three generated secrets in files, and two files that lie ready", async () => {
    const deployment = await deployAlone(COMPONENTS.HomeserverConfig);
    const yaml = "/var/lib/matrix-homeserver/staged/homeserver.yaml";
    const log = "/var/lib/matrix-homeserver/staged/log.yaml";
    const check = 'runuser -u synapse -- /opt/synapse/releases/1/bin/python -m synapse.config -c "$file"';
    expect(shapeOf(deployment)).toEqual({
      "it-signing-key": "signing-key.sh; after ready, user-account",
      "it-registration": "password of 50",
      "it-macaroon": "password of 50",
      "it-form": "password of 50",
      "it-secrets":
        "synapse-secrets.sh; secret stdin; after it-form, it-macaroon, it-registration, ready, user-account; undone by remove-paths.sh",
      "it-homeserver": `file ${yaml} synapse:synapse 0640 check '${check}'; after it-secrets, it-signing-key, ready; undone by rm -f ${yaml}`,
      "it-log": `file ${log} synapse:synapse 0640; after it-secrets, it-signing-key, ready; undone by rm -f ${log}`,
    });
    expect(told(deployment, "it-secrets")).toEqual({
      FOLDER: "/opt/synapse/secrets",
      USER_NAME: "synapse",
      REGISTRATION_SHARED_SECRET: generated("it-registration"),
      MACAROON_SECRET_KEY: generated("it-macaroon"),
      FORM_SECRET: generated("it-form"),
      DATABASE_PASSWORD: DB_PASSWORD,
    });
    expect(deployment.get("it").outputs).toEqual({ path: "/opt/synapse/homeserver.yaml" });
  });

  const known = <T>(value: T): pulumi.Output<T> => pulumi.output("").apply<T>(() => value);

  it("keeps its secrets and tells only that they changed", async () => {
    let revision = "";
    await deploy(async () => {
      const host = fakeMachine();
      const user = new SystemUser("user", { host, userName: "synapse", home: "/opt/synapse" });
      const config = COMPONENTS.HomeserverConfig({ host, user, fact: known, opts: {} });
      expect(await pulumi.isSecret(config.secretsRevision)).toBe(false);
      config.secretsRevision.apply((text) => (revision = text));
      expect(config.files.map(({ path, reloadable }) => [path, reloadable])).toEqual([
        ["/opt/synapse/homeserver.yaml", false],
        ["/opt/synapse/log.yaml", true],
      ]);
    });
    expect(revision).toMatch(/^[0-9a-f]{12}$/);
  });
});

test("a HomeserverConfig with workers has their secrets in files, too", async () => {
  const withWorkers = (workers: HomeserverConfigArgs["workers"]) =>
    deployAlone(
      ({ host, user }) =>
        new HomeserverConfig("it", {
          ...{ host, user, serverName: "example.com", publicBaseUrl: "https://matrix.example.com", release: "/r" },
          database: { ...DATABASE, password: DB_PASSWORD },
          ...(workers && { workers }),
        }),
    );
  const redis = { port: 16379, password: "correct horse for Redis" };
  const deployment = await withWorkers({ federationSenders: ["federation-sender1"], pushers: [], redis });
  expect(told(deployment, "it-worker-secrets")).toEqual({
    FOLDER: "/opt/synapse/secrets",
    USER_NAME: "synapse",
    WORKER_REPLICATION_SECRET: generated("it-replication"),
    REDIS_PASSWORD: redis.password,
  });
  expect(lineOf(deployment.get("it-worker-secrets"))).toContain("secret stdin");
  expect(deployment.get("it-homeserver").dependsOn).toContain("it-worker-secrets");
  const yaml = plain(deployment.get("it-homeserver").inputs.stdin);
  expect(yaml).toContain('federation_sender_instances: ["federation-sender1"]');
  expect(yaml).not.toContain("correct horse");
  const without = Object.keys(shapeOf(await withWorkers(undefined)));
  expect(Object.keys(shapeOf(deployment)).filter((name) => !without.includes(name))).toEqual([
    "it-replication",
    "it-worker-secrets",
  ]);
});

describe("SynapseWorker", () => {
  it("is a file that Synapse itself checks, and a part of the main process's unit", async () => {
    const deployment = await deployAlone(COMPONENTS.SynapseWorker);
    const file = "/etc/matrix-homeserver/workers/generic1.yaml";
    expect(shapeOf(deployment)).toEqual({
      "it-config": `file ${file} root:root 0644 check 'runuser -u synapse -- /opt/synapse/env/bin/python -m synapse.config -c /opt/synapse/homeserver.yaml -c "$file"'; after ready; undone by rm -f ${file}`,
      "it-service": "SystemdUnit",
      "it-service-unit": `file /etc/systemd/system/synapse-generic1.service root:root 0644 check 'systemd-analyze verify "$file"'; after it-config, ready`,
      "it-service-activation": "unit.sh; after it-config, it-service-unit, ready; undone by remove-service.sh",
    });
    const unit = plain(deployment.get("it-service-unit").inputs.stdin);
    expect(unit).toContain("PartOf=synapse.service\n");
    expect(unit).toContain(
      `ExecStart=/opt/synapse/env/bin/python -m synapse.app.generic_worker --config-path=/opt/synapse/homeserver.yaml --config-path=${file}\n`,
    );
    expect(unit).toContain("ReadWritePaths=\n");
    const { REVISION, ...variables } = told(deployment, "it-service-activation");
    expect(variables).toEqual({
      UNIT: "synapse-generic1.service",
      RUNNING: "/var/lib/matrix-homeserver/running-synapse-generic1",
      PROBE: "[[ $(curl -s --max-time 5 http://127.0.0.1:8101/health) == OK ]]",
      START_SECONDS: "120",
    });
    expect(deployment.get("it").outputs).toEqual({ unit: "synapse-generic1", revision: REVISION });
  });

  it("may write media when it serves them", async () => {
    const deployment = await deployAlone(({ host, user }) => {
      const worker = { name: "media1", kind: "media", port: 8401, resources: ["media"] } as const;
      new SynapseWorker("it", { host, user, worker, mainUnit: "synapse", link: "/env", config: "/homeserver.yaml" });
    });
    expect(plain(deployment.get("it-service-unit").inputs.stdin)).toContain(
      "ReadWritePaths= /opt/synapse/media_store\n",
    );
    expect(plain(deployment.get("it-config").inputs.stdin)).toContain("enable_media_repo: true\n");
  });
});

describe("Redis", () => {
  it("is a service of its own with a password of its own, from the stream that the machine has", async () => {
    const deployment = await deployAlone(COMPONENTS.Redis);
    const config = "/etc/matrix-homeserver/news.conf";
    expect(shapeOf(deployment)).toEqual({
      "it-password": "password of 50",
      "it-stream": "module-stream.sh; after ready",
      "it-packages": "packages.sh; after it-stream, ready",
      "it-config": `file ${config} root:redis 0640; secret stdin; after it-packages, it-password, ready; undone by rm -f ${config}`,
      "it-service": "SystemdUnit",
      "it-service-unit": `file /etc/systemd/system/news.service root:root 0644 check 'systemd-analyze verify "$file"'; after it-config, ready`,
      "it-service-activation":
        "unit.sh; after it-config, it-password, it-service-unit, ready; undone by remove-service.sh",
    });
    expect(told(deployment, "it-stream")).toEqual({ MODULE: "redis", STREAMS: "7 6" });
    expect(plain(deployment.get("it-config").inputs.stdin)).toContain(`requirepass ${generated("it-password")}\n`);
  });
});

test("a service starts anew when a file of its own was put right, and only then", async () => {
  const revisionAfter = async (component: "Redis" | "SynapseWorker", name: string) => {
    const deployment = await deployAlone((setting) =>
      COMPONENTS[component]({ ...setting, host: { ...setting.host, reconcile: { [name]: "now" } } }),
    );
    return told(deployment, "it-service-activation").REVISION;
  };
  for (const component of ["Redis", "SynapseWorker"] as const) {
    const untouched = told(await deployAlone(COMPONENTS[component]), "it-service-activation").REVISION;
    expect(await revisionAfter(component, "other-config")).toBe(untouched);
    expect(await revisionAfter(component, "it-config")).not.toBe(untouched);
    expect(await revisionAfter(component, "it-service-unit")).not.toBe(untouched);
  }
});

test("a HealthCheck asks the workers when clients are served", async () => {
  const deployment = await deployAlone(
    ({ host }) =>
      new HealthCheck("it", {
        ...{ host, serverName: "example.com", publicBaseUrl: "https://matrix.example.com", caPath: "", revision: "1" },
        workers: [
          { unit: "synapse-generic1", port: 8101, servesClients: true },
          { unit: "synapse-pusher1", port: 8301, servesClients: false },
        ],
      }),
  );
  expect(lineOf(deployment.get("it-workers"))).toBe("worker-check.sh; after it-client, ready");
  expect(told(deployment, "it-workers")).toEqual({
    SERVER_NAME: "example.com",
    BASE_URL: "https://matrix.example.com",
    CA_FILE: "",
    WORKERS: "synapse-generic1|8101|client\nsynapse-pusher1|8301|nobody",
    REVISION: "1",
  });
});

test("a HomeserverConfig with secret settings shows neither them nor what is made of them", async () => {
  const deployment = await deployAlone(({ host, user }) => {
    const config = new HomeserverConfig("it", {
      ...{ host, user, serverName: "example.com", publicBaseUrl: "https://matrix.example.com", release: "/r" },
      database: { ...DATABASE, password: DB_PASSWORD },
      settings: { turn_shared_secret: "MIIkept" },
      secretSettings: true,
    });
    new SystemdService("it-service", {
      ...{ host, user, unit: "unit", description: "A service", command: "/bin/true", writable: [] },
      ...{ files: config.files, link: "/env", release: "/r", restartOn: "", healthUrl: "http://127.0.0.1/" },
    });
  });
  expect(deployment.get("it-homeserver").inputs.stdin).toBeInstanceOf(Secret);
  expect(deployment.get("it-log").inputs.stdin).not.toBeInstanceOf(Secret);
  expect(deployment.get("it-service").outputs?.revision).toBeInstanceOf(Secret);
  expect(openTexts(deployment.resources.map(({ inputs, outputs }) => [inputs, outputs])).join()).not.toContain(
    "MIIkept",
  );
});

test("a SchemaCheck is one look at the database, as Synapse will log in to it", async () => {
  const deployment = await deployAlone(COMPONENTS.SchemaCheck);
  expect(shapeOf(deployment)).toEqual({ "it-check": "schema-check.sh; after ready" });
  expect(told(deployment, "it-check")).toEqual({
    RELEASE: "/opt/synapse/releases/1",
    VERSION: "1.2.3",
    RUN_AS: "synapse",
    HOME_FOLDER: "/opt/synapse",
    DATABASE:
      "user='synapse' passfile='/opt/synapse/secrets/pgpass' dbname='synapse' host='/var/run/postgresql' port='5432'",
    OTHERWISE: "It is shut out.",
  });
  expect(deployment.get("it").outputs).toEqual({});
});

describe("Adoption", () => {
  const after = "/usr/local/libexec/matrix-homeserver/adopt";

  it("prepares the machine, and leaves a program there for the moment of the switch; what follows waits for both", async () => {
    let adoption: Adoption | undefined;
    const deployment = await deployAlone((setting) => {
      adoption = COMPONENTS.Adoption(setting);
    });
    expect(shapeOf(deployment)).toEqual({
      "it-prepare": "adopt-prepare.sh; after ready, user-account",
      "it-program": `file ${after} root:root 0755; after it-prepare, ready; undone by rm -f ${after}`,
    });
    expect(adoption?.program).toBe(after);
    const program = plain(deployment.get("it-program").inputs.stdin);
    expect(program).toContain(
      "\nOLD_UNIT=matrix-synapse.service\nSQLITE=''\nSTAGED=/var/lib/matrix-homeserver/staged\n",
    );
  });

  it("moves an environment that is in the way of the link, and leaves another where it is", async () => {
    const adopted = async (environment: string) => {
      const deployment = await deployAlone(
        ({ host, user }) =>
          new Adoption("it", {
            host,
            user,
            environment,
            serverName: "example.com",
            unit: "synapse",
            signingKey: "/key",
            mediaStore: "/media",
            becomes: "synapse",
            healthUrl: "http://127.0.0.1/health",
            kept: "/kept",
          }),
      );
      return told(deployment, "it-prepare").ADOPTED;
    };
    expect(await adopted("/opt/synapse/env")).toBe("/opt/synapse/adopted-env");
    expect(await adopted("/srv/venv")).toBe("/srv/venv");
  });
});

describe("SystemdService", () => {
  it("is a unit that lies ready, and what puts all files in place at once", async () => {
    let files: RemoteFile[] = [];
    const deployment = await deployAlone(({ host, user }) => {
      files = ["a", "b"].map((name) => new RemoteFile(name, { host, path: `/staged/${name}`, content: name }, {}));
      new SystemdService("it", {
        host,
        unit: "unit",
        description: "A service",
        user,
        command: "/bin/true --flag",
        writable: ["/opt/synapse/data"],
        files: files.map((source, index) => ({
          source,
          path: `/live/${index}`,
          owner: "u:g",
          mode: "0640",
          reloadable: index === 1,
        })),
        link: "/opt/synapse/env",
        release: "/opt/synapse/releases/1",
        restartOn: "secrets",
        needs: { command: "test -e /needed", otherwise: "it is not there: make it" },
        healthUrl: "http://127.0.0.1/health",
        startSeconds: 7,
      });
    });
    const unit = "/var/lib/matrix-homeserver/staged/unit.service";
    expect(shapeOf(deployment)).toEqual({
      "it-unit": `file ${unit} root:root 0644 check 'systemd-analyze verify "$file"'; after ready; undone by rm -f ${unit}`,
      "it-activation": "activate-service.sh; after a, b, it-unit, ready; undone by remove-service.sh",
    });
    const { REVISION, ...variables } = told(deployment, "it-activation");
    expect(REVISION).toMatch(/^[0-9a-f]{12}$/);
    expect(variables).toEqual({
      UNIT: "unit.service",
      FILES: [
        `${unit}|/etc/systemd/system/unit.service|root:root|0644|restart`,
        "/staged/a|/live/0|u:g|0640|restart",
        "/staged/b|/live/1|u:g|0640|reload",
      ].join("\n"),
      LINK: "/opt/synapse/env",
      LINK_TARGET: "/opt/synapse/releases/1",
      RESTART_ON: "secrets",
      HEALTH_URL: "http://127.0.0.1/health",
      START_SECONDS: "7",
      KEEP: "/var/lib/matrix-homeserver/last-good-unit",
      RUN_AS: "synapse",
      NEEDS: "test -e /needed",
      OTHERWISE: "it is not there: make it",
      TAKE_OVER: "",
      TAKE_OVER_FROM: "",
    });
    expect(scriptCalls(deployment.get("it-activation"))[1]?.variables.PATHS?.split("\n")).toEqual([
      "/etc/systemd/system/unit.service",
      "/live/0",
      "/live/1",
      "/var/lib/matrix-homeserver/last-good-unit",
      "/var/lib/matrix-homeserver/last-good-unit.unproven",
    ]);
    expect(deployment.get("it").outputs).toEqual({ revision: REVISION });
  });

  it("has another revision when its release, its secrets or the text of a file changes", async () => {
    const revision = async (content: string, release: string, restartOn: string) =>
      (
        await deployAlone(({ host, user }) => {
          const source = new RemoteFile("file", { host, path: "/staged/file", content }, {});
          new SystemdService("it", {
            ...{ host, user, unit: "unit", description: "A service", command: "/bin/true", writable: [] },
            ...{ link: "/env", healthUrl: "http://127.0.0.1/", release, restartOn },
            files: [{ source, path: "/live", owner: "u:g", mode: "0640" }],
          });
        })
      ).get("it").outputs?.revision;
    const first = await revision("text", "1", "a");
    expect(await revision("text", "1", "a")).toBe(first);
    expect(await revision("another text", "1", "a")).not.toBe(first);
    expect(await revision("text", "2", "a")).not.toBe(first);
    expect(await revision("text", "1", "b")).not.toBe(first);
  });
});

describe("TlsCertificate", () => {
  it("is one script for a certificate of the machine's own, whose keys stay there", async () => {
    const deployment = await deployAlone(({ host }) => {
      const { caPath } = new TlsCertificate("it", {
        host,
        names: ["a.example", "b.example"],
        source: { mode: "selfsigned" },
      });
      expect(caPath).toBe("/etc/pki/matrix-homeserver/ca.crt");
    });
    expect(shapeOf(deployment)).toEqual({
      "it-selfsigned": "tls-selfsigned.sh; after ready",
      ...timed("it-renewal", "matrix-homeserver-selfsigned", "it-selfsigned, ready"),
    });
    expect(scriptCalls(deployment.get("it-renewal-program"))).toEqual(scriptCalls(deployment.get("it-selfsigned")));
    expect(told(deployment, "it-selfsigned").NAMES).toBe("a.example b.example");
    expect(deployment.get("it").outputs).toEqual({
      certificatePath: "/etc/pki/matrix-homeserver/selfsigned.crt",
      caCertificate: "the authority's certificate",
    });
  });

  it("is two files for a certificate that was given, the key secret and for nobody else's eyes", async () => {
    const deployment = await deployAlone(COMPONENTS["TlsCertificate, provided"]);
    const folder = "/etc/pki/matrix-homeserver";
    expect(shapeOf(deployment)).toEqual({
      "it-key": `file ${folder}/provided.key root:root 0600 check 'openssl pkey -in "$file" -noout'; secret stdin; after ready; undone by rm -f ${folder}/provided.key`,
      "it-certificate": `file ${folder}/provided.crt root:root 0644 check 'openssl x509 -in "$file" -noout'; after ready; undone by rm -f ${folder}/provided.crt`,
    });
    expect(deployment.get("it-key").inputs.stdin).toEqual(new Secret(TLS_KEY));
    expect(deployment.get("it-certificate").inputs.stdin).toBe(CERTIFICATE);
    expect(deployment.get("it").outputs).toEqual({ certificatePath: `${folder}/provided.crt`, caCertificate: "" });
  });
});

describe("AcmeCertificate", () => {
  test("has a stand-in to begin with, so that nginx can start", async () => {
    const deployment = await deployAlone(COMPONENTS["TlsCertificate, acme"]);
    expect(shapeOf(deployment)).toEqual({ "it-stand-in": "tls-stand-in.sh; after ready" });
    expect(deployment.get("it").outputs).toEqual({
      certificatePath: "/etc/pki/matrix-homeserver/acme.crt",
      caCertificate: "",
    });
  });

  test("of a private ACME server brings that one's authority along", async () => {
    const deployment = await deployAlone(({ host }) => {
      new TlsCertificate("it", { host, names: ["example.com"], source: { ...ACME, ca: CERTIFICATE } });
    });
    const path = "/etc/pki/matrix-homeserver/acme-ca.crt";
    expect(shapeOf(deployment)["it-acme-ca"]).toBe(
      `file ${path} root:root 0644 check 'openssl x509 -in "$file" -noout'; after ready; undone by rm -f ${path}`,
    );
    expect(deployment.get("it").outputs).toMatchObject({ caCertificate: CERTIFICATE });
  });

  test("is certbot in an environment of its own, a certificate, and its renewal", async () => {
    const deployment = await deployAlone(COMPONENTS.AcmeCertificate);
    expect(shapeOf(deployment)).toEqual({
      ...tool("it-certbot", "certbot", "ready"),
      "it-issuance": `tls-acme.sh; after ${toolNames("it-certbot")}, ready`,
      ...timed("it-renewal", "matrix-homeserver-acme", "it-issuance, ready"),
    });
    expect(told(deployment, "it-issuance")).toMatchObject({
      NAMES: "example.com",
      DIRECTORY: "https://acme.example/",
      CERTIFICATE: "/etc/pki/matrix-homeserver/acme.crt",
      KEY: "/etc/pki/matrix-homeserver/acme.key",
      CA_FILE: "",
    });
    expect(scriptCalls(deployment.get("it-renewal-program"))).toEqual(scriptCalls(deployment.get("it-issuance")));
    expect(deployment.get("it").outputs).toEqual({});
  });
});

describe("TimedProgram", () => {
  it("is a program that can be run by itself, and a timer that is stopped before it goes", async () => {
    const deployment = await deployAlone(COMPONENTS.TimedProgram);
    expect({ it: "TimedProgram", ...shapeOf(deployment) }).toEqual(timed("it", "unit", "ready"));
    expect(scriptCalls(deployment.get("it-program"))).toEqual([{ file: "nginx.sh", variables: TIMED }]);
    expect(plain(deployment.get("it-program").inputs.stdin)).toMatch(/^#!\/usr\/bin\/env bash\n/);
    expect(scriptCalls(deployment.get("it-activation"))).toEqual([
      {
        file: "timer.sh",
        variables: {
          UNIT: "unit",
          SERVICE: expect.stringContaining("\nExecStart=/usr/local/libexec/matrix-homeserver/unit\n") as string,
          TIMER: expect.stringContaining(
            "\nOnCalendar=daily\n# Not all machines of the world at the same minute.\nRandomizedDelaySec=6h\n",
          ) as string,
          INSTALL_FILE: "/usr/local/libexec/matrix-homeserver/install-file",
        },
      },
      {
        file: "remove-service.sh",
        variables: { UNIT: "unit.timer", PATHS: "/etc/systemd/system/unit.service\n/etc/systemd/system/unit.timer" },
      },
    ]);
    expect(deployment.get("it").outputs).toEqual({});
  });
});

describe("PythonVenv", () => {
  it("is packages, a lock, and an environment that is in use at once", async () => {
    const deployment = await deployAlone(COMPONENTS.PythonVenv);
    expect({ it: "PythonVenv", ...shapeOf(deployment) }).toEqual(tool("it", "s3cmd", "ready"));
    const folder = "/usr/local/lib/matrix-homeserver/s3cmd";
    expect(told(deployment, "it-install")).toMatchObject({
      LINK: `${folder}/env`,
      IN_USE_AT_ONCE: "true",
      USER_NAME: "root",
    });
    expect(told(deployment, "it-install").RELEASE).toMatch(new RegExp(`^${folder}/releases/s3cmd-[0-9a-f]{12}$`));
  });
});

describe("BackupStore", () => {
  const PROGRAM = "/usr/local/libexec/matrix-homeserver/backup-store";
  const CONFIGURATION = "/etc/matrix-homeserver/backup-store.cfg";
  const text = (deployment: Deployment) => plain(deployment.get("it-configuration").inputs.stdin);

  it("is s3cmd, a program, and credentials for root alone that the store has to let in", async () => {
    const deployment = await deployAlone(COMPONENTS.BackupStore);
    expect(shapeOf(deployment)).toEqual({
      ...tool("it-s3cmd", "s3cmd", "ready"),
      "it-program": `file ${PROGRAM} root:root 0755; after ready; undone by rm -f ${PROGRAM}`,
      "it-configuration": `file ${CONFIGURATION} root:root 0600 check '${PROGRAM} check "$file" s3://backups/'; secret stdin; after it-program, ${toolNames("it-s3cmd")}, ready; undone by rm -f ${CONFIGURATION}`,
    });
    expect(told(deployment, "it-program")).toMatchObject({ STORE: "s3://backups/", KEEP: "5" });
    expect(text(deployment).split("\n")).toEqual(
      expect.arrayContaining([
        "access_key = id",
        `secret_key = ${STORE_SECRET}`,
        "host_base = s3.example.com:9000",
        "host_bucket = s3.example.com:9000",
        "bucket_location = us-east-1",
        "check_ssl_certificate = True",
      ]),
    );
    expect(text(deployment)).not.toContain("ca_certs_file");
  });

  it("takes a prefix, a region and an authority", async () => {
    const deployment = await deployAlone(
      ({ host }) =>
        new BackupStore("it", {
          host,
          serverName: "example.com",
          store: { ...STORE, prefix: "of/chat", region: "eu-1", ca: CERTIFICATE },
          python: "python3.12",
          pythonPackage: "python3.12",
        }),
    );
    expect(told(deployment, "it-program")).toMatchObject({ STORE: "s3://backups/of/chat/" });
    expect(text(deployment)).toContain("bucket_location = eu-1\n");
    expect(text(deployment)).toContain("ca_certs_file = /etc/matrix-homeserver/backup-store-ca.pem\n");
    expect(deployment.get("it-ca").inputs.stdin).toBe(`${CERTIFICATE}\n`);
    expect(deployment.get("it-configuration").dependsOn).toContain("it-ca");
  });
});

describe("Backup", () => {
  const gpg = `home=$(mktemp -d) && trap 'rm -rf "$home"' EXIT && gpg --homedir "$home" --batch --no-autostart --trust-model always --recipient-file "$file" --encrypt --output /dev/null --yes </dev/null`;

  it("is a key that gpg tries, a program by the clock, and one that puts a backup back", async () => {
    const deployment = await deployAlone(COMPONENTS.Backup);
    const recipient = "/etc/matrix-homeserver/backup-recipient.asc";
    const restore = "/usr/local/libexec/matrix-homeserver/restore";
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-recipient": `file ${recipient} root:root 0644 check '${gpg}'; after it-packages, ready; undone by rm -f ${recipient}`,
      "it-restore": `file ${restore} root:root 0755; after it-packages, ready; undone by rm -f ${restore}`,
      ...timed("it-timed", "matrix-homeserver-backup", "it-recipient, ready", "backup"),
    });
    expect(deployment.get("it-recipient").inputs.stdin).toBe("a public key\n");
    expect(told(deployment, "it-timed-program")).toEqual({
      SERVER_NAME: "example.com",
      RUN_AS: "synapse",
      HOME_FOLDER: "/opt/synapse",
      DATABASE:
        "user='synapse' passfile='/opt/synapse/secrets/pgpass' dbname='synapse' host='/var/run/postgresql' port='5432'",
      PYTHON: "/opt/synapse/env/bin/python",
      WORK: "/var/lib/matrix-homeserver/backup",
      RECIPIENT: recipient,
      DIRECTORY: "/mnt/backups",
      KEEP: "3",
      STATUS: "/etc/matrix-homeserver/last-backup",
      STORE: "",
    });
    expect(told(deployment, "it-restore")).toMatchObject({
      SERVER_NAME: "example.com",
      WORK: "/var/lib/matrix-homeserver/restore",
      ADMIN_USER_ID: "@admin:example.com",
      UNIT: "synapse.service",
      HEALTH_URL: "http://127.0.0.1:8008/health",
    });
    expect(deployment.get("it").outputs).toEqual({});
  });

  it("keeps the backups and the media when it goes", async () => {
    const deployment = await deployAlone(COMPONENTS.Backup);
    const undone = children(deployment).flatMap(({ inputs }) =>
      inputs.delete === undefined ? [] : plain(inputs.delete),
    );
    expect(undone.join("\n")).not.toMatch(/\/mnt\/backups|\/opt\/synapse/);
  });
});

describe("ExternalDatabase", () => {
  const address = { host: "db.example.com", port: 5433, name: "it's", user: "u", sslMode: "verify-full" } as const;

  it("is a client and a look, and changes nothing there", async () => {
    const deployment = await deployAlone(COMPONENTS.ExternalDatabase);
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-check": "database-check.sh; secret stdin; after it-packages, ready",
    });
    expect(told(deployment, "it-check").PASSWORD).toBe(DB_PASSWORD);
    expect(deployment.get("it").outputs).toEqual({
      address: { ...DATABASE, host: "db.example.com", sslRootCert: "/etc/pki/tls/certs/ca-bundle.crt" },
    });
  });

  it("checks the server against an authority that is given", async () => {
    const deployment = await deployAlone(({ host }) => {
      new ExternalDatabase("it", { host, stream: "16", password: DB_PASSWORD, address, ca: CERTIFICATE });
    });
    const path = "/etc/pki/matrix-homeserver/database-ca.crt";
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-ca": `file ${path} root:root 0644; after ready; undone by rm -f ${path}`,
      "it-check": "database-check.sh; secret stdin; after it-ca, it-packages, ready",
    });
    expect(told(deployment, "it-check").DATABASE).toBe(
      `user='u' passfile='$PASSFILE' dbname='it\\'s' host='db.example.com' port='5433' sslmode='verify-full' sslrootcert='${path}'`,
    );
  });
});

test("a TlsCertificate that was given can have its authority with it", async () => {
  const deployment = await deployAlone(({ host }) => {
    const source = {
      mode: "provided",
      certificate: CERTIFICATE,
      key: TLS_KEY,
      ca: `${CERTIFICATE}of the authority`,
    } as const;
    const { caPath } = new TlsCertificate("it", { host, names: ["example.com"], source });
    expect(caPath).toBe("/etc/pki/matrix-homeserver/provided-ca.crt");
  });
  expect(Object.keys(shapeOf(deployment)).sort()).toEqual(["it-certificate", "it-key", "it-provided-ca"]);
  expect(deployment.get("it-provided-ca").inputs.stdin).toBe(`${CERTIFICATE}of the authority`);
  expect(deployment.get("it").outputs).toMatchObject({ caCertificate: `${CERTIFICATE}of the authority` });
});

test("a WellKnown is one file, which nginx's removal takes along", async () => {
  const deployment = await deployAlone(COMPONENTS.WellKnown);
  const snippet = "/etc/nginx/matrix-homeserver/well-known.conf";
  expect(shapeOf(deployment)).toEqual({ "it-snippet": `file ${snippet} root:root 0644; after ready` });
  expect(deployment.get("it").outputs).toEqual({ snippet });
});

describe("NginxProxy", () => {
  it("is packages, a site that nginx itself checks, and what makes nginx serve it", async () => {
    const deployment = await deployAlone(COMPONENTS.NginxProxy);
    expect(shapeOf(deployment)).toEqual({
      "it-packages": "packages.sh; after ready",
      "it-site":
        "file /etc/nginx/conf.d/matrix-homeserver.conf root:root 0644 check '' check 'nginx -t'; after it-packages, ready, tls-renewal-activation, tls-renewal-program, tls-selfsigned, well-known-snippet",
      "it-activation": "nginx.sh; after it-site, ready; undone by nginx-remove.sh",
    });
    expect(told(deployment, "it-packages").MODULES).toBe("nginx:1.24");
    expect(scriptCalls(deployment.get("it-activation"))[1]?.variables.FILES?.split("\n")).toEqual([
      "/etc/nginx/conf.d/matrix-homeserver.conf",
      "/etc/nginx/matrix-homeserver/well-known.conf",
    ]);
    expect(deployment.get("it").outputs).toEqual({ revision: told(deployment, "it-activation").CONFIGURATION });
  });

  it("listens on IPv6 where there is one", async () => {
    const site = async (ipv6: boolean) => {
      const deployment = await deployAlone((setting) => nginx(setting, ipv6));
      return plain(deployment.get("it-site").inputs.stdin);
    };
    expect(await site(true)).toContain("listen [::]:443 ssl http2;");
    expect(await site(false)).not.toContain("[::]");
  });
});

test("an AdminUser is one account, whose password is secret", async () => {
  const deployment = await deployAlone(COMPONENTS.AdminUser);
  expect(shapeOf(deployment)).toEqual({ "it-account": "account.sh; secret stdin; after ready" });
  expect(told(deployment, "it-account")).toEqual({
    LOCALPART: "admin",
    USER_ID: "@admin:example.com",
    PASSWORD: ADMIN_PASSWORD,
    ADMIN: "yes",
    RESET: "yes",
    MARK: "/etc/matrix-homeserver/admin-password",
    CONFIG: "/opt/synapse/homeserver.yaml",
    BIN: "/opt/synapse/env/bin",
    SYNAPSE_URL: "http://127.0.0.1:8008",
    RUN_AS: "synapse",
  });
  expect(deployment.get("it").outputs).toEqual({ userId: "@admin:example.com" });
});

test("a HealthCheck is one script, run again when what was deployed changes", async () => {
  const deployment = await deployAlone(COMPONENTS.HealthCheck);
  expect(shapeOf(deployment)).toEqual({ "it-client": "health-check.sh; after ready" });
  expect(told(deployment, "it-client")).toEqual({
    SERVER_NAME: "example.com",
    BASE_URL: "https://matrix.example.com",
    APEX: "served",
    CA_FILE: "",
    REVISION: "1",
  });
  expect(deployment.get("it").outputs).toEqual({ passed: true });
});

describe("Remains", () => {
  it("keeps the data, and only says where they are, unless it purges", async () => {
    const deployment = await deployAlone(COMPONENTS.Remains);
    expect(shapeOf(deployment)).toEqual({ "it-data": "remains.sh; after ready; undone by remains-kept.sh" });
    expect(told(deployment, "it-data")).toEqual({
      PURGE: "no",
      PURGE_FILE: "/etc/matrix-homeserver/purge",
      SERVER_NAME: "example.com",
      HOME_FOLDER: "/opt/synapse",
      DATABASE: "synapse",
    });
  });

  it("with purge removes what it is told, and never a database that is elsewhere", async () => {
    const deployment = await deployAlone(COMPONENTS["Remains, purged"]);
    expect(shapeOf(deployment)).toEqual({ "it-data": "remains.sh; after ready; undone by purge.sh" });
    expect(scriptCalls(deployment.get("it-data")).at(-1)?.variables).toMatchObject({
      PURGE: "true",
      DATABASE: "",
      ROLE: "",
      FOLDERS: "/opt/synapse\n/var/lib/matrix-homeserver\n/etc/pki/it",
      RUN_AS: "synapse",
    });
  });

  it("is a machine for all that has to come after it and to go before", async () => {
    const deployment = await deploy(() => {
      const host = new Remains("it", {
        host: fakeMachine(),
        purge: false,
        serverName: "example.com",
        userName: "synapse",
        home: "/opt/synapse",
        folders: [],
      });
      new HealthCheck("later", {
        host,
        serverName: "a.example",
        publicBaseUrl: "https://a.example",
        caPath: "",
        revision: "",
      });
    });
    expect(deployment.get("later-client").dependsOn).toContain("it-data");
  });
});

test("a LastBackup is made when it goes, and only then", async () => {
  const deployment = await deployAlone(COMPONENTS.LastBackup);
  expect(shapeOf(deployment)).toEqual({ "it-made": "last-backup.sh; after ready; undone by last-backup-made.sh" });
  expect(told(deployment, "it-made")).toEqual({ PROGRAM: "/usr/local/libexec/matrix-homeserver/backup" });
  expect(scriptCalls(deployment.get("it-made")).at(-1)?.variables).toEqual({
    UNIT: "synapse.service",
    PROGRAM: "/usr/local/libexec/matrix-homeserver/backup",
    PURGE_FILE: "/etc/matrix-homeserver/purge",
    STATUS: "/etc/matrix-homeserver/last-backup",
  });
});

describe("CloudInit", () => {
  const hostKey = { privateKey: pulumi.secret("the private key"), publicKey: "ssh-ed25519 AAAA" };

  it("makes no resource: it asks the provider for one document", async () => {
    const deployment = await deployAlone(COMPONENTS.CloudInit);
    expect(shapeOf(deployment)).toEqual({});
    expect(deployment.calls).toHaveLength(1);
    expect(deployment.calls[0]).toMatchObject({
      token: "cloudinit:index/getConfig:getConfig",
      inputs: { gzip: false, base64Encode: false, parts: [{ contentType: "text/cloud-config" }] },
    });
    expect(cloudConfigOf(deployment)).toMatchObject({
      hostname: "example.com",
      ssh_pwauth: false,
      users: [{ name: "cloud-user", sudo: "ALL=(ALL) NOPASSWD:ALL", ssh_authorized_keys: ["ssh-ed25519 AAAA"] }],
    });
    expect(deployment.get("it").outputs).toEqual({ userData: "user-data" });
  });

  it("is secret as soon as a host key is in it", async () => {
    const deployment = await deployAlone(
      ({ opts }) => new CloudInit("it", { hostname: "example.com", authorizedKeys: [], hostKey }, opts),
    );
    expect(cloudConfigOf(deployment)).toMatchObject({
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private: "the private key", ed25519_public: "ssh-ed25519 AAAA" },
    });
    expect(deployment.get("it").outputs).toEqual({ userData: new Secret("user-data") });
  });

  it("can log in as root, without sudo", async () => {
    const deployment = await deployAlone(
      ({ opts }) => new CloudInit("it", { hostname: "h", loginUser: "root", authorizedKeys: ["k"] }, opts),
    );
    const config = cloudConfigOf(deployment);
    expect(config).toMatchObject({ disable_root: false, users: [{ name: "root", ssh_authorized_keys: ["k"] }] });
    expect(JSON.stringify(config)).not.toContain("sudo");
  });

  function cloudConfigOf({ calls }: Deployment): unknown {
    const { parts } = calls[0]?.inputs as { parts: { content: string }[] };
    const [part] = parts;
    expect(part?.content).toMatch(/^#cloud-config\n/);
    return parse(part?.content ?? "");
  }
});

describe("RemoteScript and RemoteFile", () => {
  it("end a script that hangs after a quarter of an hour, or after the time that is given", async () => {
    const deployment = await deployAlone(({ host }) => {
      const variables = { FILES: "/none" };
      new RemoteScript("it-short", { host, script: "nginx-remove.sh", variables, timeoutSeconds: 5 }, {});
      new RemoteScript("it-default", { host, script: "nginx-remove.sh", variables }, {});
    });
    expect(deployment.get("it-short").inputs.create).toBe("timeout --kill-after=30 5 bash -s");
    expect(deployment.get("it-default").inputs.create).toBe("timeout --kill-after=30 900 bash -s");
  });

  it("make one secret in a script's variables a secret of the whole text, and of nothing else", async () => {
    const deployment = await deployAlone(({ host }) => {
      new RemoteScript("it-s", { host, script: "nginx-remove.sh", variables: { FILES: pulumi.secret("/secret") } }, {});
    });
    const { inputs } = deployment.get("it-s");
    expect(Object.keys(inputs).filter((key) => inputs[key] instanceof Secret)).toEqual(["connection", "stdin"]);
  });

  it("run again when they are named, or what they follow is, and leave the others as they are", async () => {
    const deployment = await deployAlone(({ host }) => {
      const again = { ...host, reconcile: { "it-f": "2026-11-25T02:30:00Z", "it-s": "later", gone: "never" } };
      const variables = { FILES: "/none" };
      new RemoteFile("it-f", { host: again, path: "/f", content: "text" }, {});
      new RemoteFile("it-g", { host: again, path: "/g", content: "text" }, {});
      new RemoteScript("it-s", { host: again, script: "nginx-remove.sh", variables, follows: ["it-f", "it-g"] }, {});
      new RemoteScript("it-t", { host: again, script: "nginx-remove.sh", variables, follows: ["it-g"] }, {});
    });
    const command = (name: string) => plain(deployment.get(name).inputs.create);
    expect(command("it-f")).toMatch(/ root:root 0644 \/f # again: it-f 2026-11-25T02:30:00Z$/);
    expect(command("it-g")).toMatch(/ \/g$/);
    expect(command("it-s")).toMatch(/ bash -s # again: it-s later # again: it-f 2026-11-25T02:30:00Z$/);
    expect(command("it-t")).toMatch(/ bash -s$/);
  });

  it("quote what goes into a command line", async () => {
    const path = "/etc/it's a $(file).conf";
    const deployment = await deployAlone(({ host }) => {
      new RemoteFile(
        "it-f",
        { host, path, content: "text", owner: "o'o:g", mode: "0600", checkInPlace: "true 'x'" },
        {},
      );
    });
    const { create, delete: remove, stdin } = deployment.get("it-f").inputs;
    expect(wordsOf(plain(create)).slice(1)).toEqual(["o'o:g", "0600", path, "", "true 'x'"]);
    expect(wordsOf(plain(remove))).toEqual(["rm", "-f", path]);
    expect(stdin).toBe("text");
  });
});
