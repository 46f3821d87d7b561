/*
 * The whole program, as the engine would get it: which resources, after which others, what is secret, and what a stack is told.
 * A snapshot has every resource in a line, so that no name changes by accident: a renamed resource is made anew on the host.
 */
import { spawnSync } from "node:child_process";

import * as pulumi from "@pulumi/pulumi";

import program from "../../index";

import {
  deploy,
  generated,
  lineOf,
  mistold,
  openTexts,
  PASSWORD,
  plain,
  scriptCalls,
  Secret,
  STACK,
  type Deployment,
  type DeployOptions,
  type Registered,
} from "./mocks";
import { PUBLIC_KEY } from "./openpgp";

const DB_PASSWORD = "correct horse 'battery'";
const ADMIN_PASSWORD = "an administrator's password";
const HOST = {
  address: "192.0.2.1",
  hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAgU5JE9enyH2FMx2koR2hkbUM8k8msT38Go880QZQYe",
};
const SETTINGS = { serverName: "example.com", dbPassword: DB_PASSWORD, host: HOST };

const ROOT = "matrix-homeserver-test";
/** The component that all of it is in. */
const HOMESERVER = SETTINGS.serverName;

/** What all else waits for. */
const FIRST = ["host-facts", "host-claim", "host-repositories", "remains-data"];

const nextSteps = ({ resources }: Deployment) =>
  String(resources.find(({ name }) => name === ROOT)?.outputs?.nextSteps);

interface UpOptions extends DeployOptions {
  /** Settings that are encrypted in the stack file, in whole or in part. Default: the database's password. */
  readonly secret?: readonly string[];
}

/** Deploys a stack with these settings; texts are given as they are, all else as JSON, as the engine does. */
function up(settings: Readonly<Record<string, unknown>>, options: UpOptions = {}): Promise<Deployment> {
  const secret = options.secret ?? ["dbPassword"];
  const config = Object.entries(settings).map(([name, value]) => [
    `matrix-homeserver:${name}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(config) as Record<string, string>,
    secret.map((name) => `matrix-homeserver:${name}`),
  );
  return deploy(program, options);
}

// settings.test looks at what a stack is warned of; printed here, it would bury what fails.
beforeAll(() => jest.spyOn(console, "warn").mockImplementation());

describe.each([
  ["as root", { ...SETTINGS, host: HOST }],
  ["as a user with sudo", { ...SETTINGS, host: { ...HOST, user: "cloud-user" } }],
])("a stack that is deployed %s", (_name, settings) => {
  const prefix = "user" in settings.host ? "sudo -n " : "";
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await up(settings);
  });

  test("names each of them once, and everything below the stack's components after its parent", () => {
    const names = deployment.resources.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
    for (const { name, parent, type } of deployment.resources) {
      if (![ROOT, HOMESERVER].includes(parent) && type !== STACK) expect(name.startsWith(`${parent}-`)).toBe(true);
    }
  });

  test("is one component", () => {
    const made = deployment.resources.filter(({ parent, type }) => parent === ROOT && !type.startsWith("pulumi:"));
    expect(made.map(({ name, type }) => [name, type])).toEqual([[HOMESERVER, "matrix-homeserver:index:Homeserver"]]);
    expect(made[0]?.outputs).toEqual({ baseUrl: "https://matrix.example.com", adminUserId: "@admin:example.com" });
  });

  test("takes what a stack had before it was one component for its own", () => {
    const inside = deployment.resources.filter(({ parent }) => parent === HOMESERVER);
    const outside = [{ spec: expect.objectContaining({ noparent: true, name: "", type: "" }) as object }];
    for (const { name, options } of inside) expect([name, options.aliases]).toEqual([name, outside]);
  });

  test("has one component a job, each with outputs that it registered", () => {
    const components = deployment.resources.filter(({ custom, parent }) => !custom && parent === HOMESERVER);
    expect(components.map(({ name, type }) => [name, type.replace("matrix-homeserver:index:", "")]).sort()).toEqual([
      ["admin", "AdminUser"],
      ["base", "BaseSystem"],
      ["database", "PostgresDb"],
      ["health", "HealthCheck"],
      ["homeserver", "HomeserverConfig"],
      ["host", "Host"],
      ["nginx", "NginxProxy"],
      ["remains", "Remains"],
      ["synapse", "SynapseVenv"],
      ["synapse-schema", "SchemaCheck"],
      ["synapse-service", "SystemdService"],
      ["synapse-user", "SystemUser"],
      ["tls", "TlsCertificate"],
      ["well-known", "WellKnown"],
    ]);
    for (const { outputs } of components) expect(outputs).toBeDefined();
  });

  test("touches the machine only after it was found fit", () => {
    expect(deployment.get("host-facts").dependsOn).toEqual([]);
    expect(deployment.get("host-repositories").dependsOn).toEqual(["host-claim", "host-facts"]);
    expect(deployment.get("remains-data").dependsOn).toEqual(["host-repositories"]);
    for (const { name, dependsOn } of deployment.commands) {
      if (!FIRST.includes(name))
        expect({ name, dependsOn }).toEqual({
          name,
          dependsOn: expect.arrayContaining(["remains-data"]) as string[],
        });
    }
  });

  test.each([
    ["synapse-install", "synapse-user-account"],
    ["homeserver-homeserver", "synapse-install"],
    ["homeserver-homeserver", "homeserver-secrets"],
    ["homeserver-homeserver", "homeserver-signing-key"],
    ["synapse-schema-check", "synapse-install"],
    ["synapse-schema-check", "database-database"],
    ["synapse-service-activation", "synapse-schema-check"],
    ["synapse-service-activation", "database-database"],
    ["synapse-service-activation", "homeserver-homeserver"],
    ["synapse-service-activation", "homeserver-log"],
    ["nginx-site", "tls-selfsigned"],
    ["nginx-site", "well-known-snippet"],
    ["nginx-activation", "nginx-site"],
    ["admin-account", "synapse-service-activation"],
    ["health-client", "synapse-service-activation"],
    ["health-client", "nginx-activation"],
    ["health-client", "base-firewall"],
  ])("does %s after %s", (name, awaited) => {
    expect(earlierThan(deployment, name)).toContain(awaited);
  });

  test("has no circle in what waits for what", () => {
    for (const { name } of deployment.resources) expect(earlierThan(deployment, name)).not.toContain(name);
  });

  test(`puts ${JSON.stringify(prefix)} in front of every command, once`, () => {
    for (const { name, inputs } of deployment.commands) {
      for (const line of [inputs.create, inputs.delete]) {
        if (line === undefined) continue;
        const command = plain(line);
        expect({ name, begins: command.startsWith(prefix) }).toEqual({ name, begins: true });
        expect(command.slice(prefix.length)).toMatch(
          /^(timeout|bash|rm|\/usr\/local\/libexec\/matrix-homeserver\/install-file) /,
        );
      }
      expect(inputs).toMatchObject({ logging: "stderr", addPreviousOutputInEnv: false });
      expect(Object.keys(inputs)).not.toContain("triggers");
    }
  });

  test("logs in with one connection for all commands, which is secret", () => {
    const connections = deployment.commands.map(({ inputs }) => inputs.connection);
    expect(connections[0]).toEqual(
      new Secret({
        host: HOST.address,
        hostKey: HOST.hostKey,
        port: 22,
        user: prefix === "" ? "root" : "cloud-user",
        dialErrorLimit: 20,
        perDialTimeout: 5,
      }),
    );
    for (const connection of connections) expect(connection).toEqual(connections[0]);
  });

  test("shows no secret anywhere", () => {
    const secrets = deployment.resources.filter(({ type }) => type === PASSWORD).map(({ name }) => generated(name));
    expect(secrets).toHaveLength(4);
    expectHidden(deployment, [...secrets, DB_PASSWORD, "correct horse"]);
  });

  test("tells its scripts what they ask for, and nothing else", () => {
    expectTold(deployment);
  });

  test("has outputs that are plain values, the administrator's password secret and nothing else", () => {
    const { outputs } = deployment.get(ROOT);
    expect(outputs).toEqual({
      serverName: "example.com",
      baseUrl: "https://matrix.example.com",
      adminUserId: "@admin:example.com",
      adminPassword: new Secret(generated("admin-password")),
      caCertificate: "the authority's certificate",
      wellKnownClient: '{"m.homeserver":{"base_url":"https://matrix.example.com"}}',
      wellKnownServer: '{"m.server":"matrix.example.com:443"}',
      hostAddress: "192.0.2.1",
      nextSteps: expect.stringMatching(/^1\. Let DNS name 192\.0\.2\.1 for matrix\.example\.com, /) as string,
    });
  });

  test("is the same every time", async () => {
    expect(changes(deployment, await up(settings))).toEqual([]);
  });

  test("has the same resources in a first preview, when nothing is known of the machine", async () => {
    const preview = await up(settings, { preview: true });
    expect(skeleton(preview)).toEqual(skeleton(deployment));
    expectHidden(preview, ["correct horse"]);
  });
});

test("a stack has these resources and no others, whoever logs in", async () => {
  const graph = graphOf(await up(SETTINGS));
  expect(graph).toMatchSnapshot();
  expect(graphOf(await up({ ...SETTINGS, host: { ...HOST, user: "cloud-user" } }))).toEqual(graph);
});

describe("a change", () => {
  let first: Deployment;
  beforeAll(async () => {
    first = await up(SETTINGS);
  });
  const service = ["synapse-service-activation", "health-client"];
  const nginx = ["nginx-site", "nginx-activation", "health-client"];

  test.each<[string, Record<string, unknown>, string[]]>([
    ["of the log level", { synapse: { logLevel: "INFO" } }, ["homeserver-log", ...service]],
    ["of a setting of Synapse", { homeserver: { enable_metrics: true } }, ["homeserver-homeserver", ...service]],
    ["of the database's password", { dbPassword: "another password" }, ["database-database", "homeserver-secrets"]],
    ["of the administrator's name", { admin: { localpart: "alice" } }, ["admin-account"]],
    ["of what nginx serves", { nginx: { apexProxy: true } }, nginx],
    [
      "of the largest upload",
      { homeserver: { max_upload_size: "100M" } },
      ["homeserver-homeserver", "synapse-service-activation", ...nginx],
    ],
    [
      "of the release",
      { synapse: { version: "1.162.0" } },
      [
        "host-facts",
        "synapse-requirements",
        "synapse-install",
        "synapse-schema-check",
        "homeserver-homeserver",
        ...service,
      ],
    ],
  ])("%s touches what it has to, and nothing else", async (_name, change, expected) => {
    expect(changes(first, await up({ ...SETTINGS, ...change }))).toEqual(expected.sort());
  });
});

test("a secret of Synapse's is made for a text only where the stack has one", async () => {
  const deployment = await up({ ...SETTINGS, rotate: { formSecret: "2026-11-25" } });
  expect(deployment.get("homeserver-form").inputs.keepers).toEqual({ rotation: "2026-11-25" });
  expect(Object.keys(deployment.get("homeserver-macaroon").inputs)).not.toContain("keepers");
});

describe("a stack with a certificate and an administrator's password of its own", () => {
  const [certificate, key] = makeCertificate("chat.example.com", "example.com");
  let deployment: Deployment;

  beforeAll(async () => {
    const settings = {
      ...SETTINGS,
      domains: ["chat.example.com"],
      tls: { mode: "provided", certificate, key },
      admin: { localpart: "alice", password: ADMIN_PASSWORD },
    };
    deployment = await up(settings, { secret: ["dbPassword", "tls", "admin"] });
  });

  test("makes neither", () => {
    const names = deployment.resources.map(({ name }) => name);
    expect(names.filter((name) => /admin-password|selfsigned|renewal/.test(name))).toEqual([]);
    expect(names).toEqual(expect.arrayContaining(["tls-key", "tls-certificate"]));
  });

  test("shows neither the key nor the passwords", () => {
    const [, inner = ""] = key.split("\n");
    expect(inner).toMatch(/^\S{60,}$/);
    expectHidden(deployment, [inner, ADMIN_PASSWORD, "correct horse"]);
    expect(deployment.get("tls-key").inputs.stdin).toEqual(new Secret(key));
    expect(deployment.get("tls-certificate").inputs.stdin).toBe(certificate);
  });

  test("tells its scripts what they ask for, and nothing else", () => {
    expectTold(deployment);
  });

  test("has its own values as outputs", () => {
    expect(deployment.get(ROOT).outputs).toMatchObject({
      baseUrl: "https://chat.example.com",
      adminUserId: "@alice:example.com",
      adminPassword: new Secret(ADMIN_PASSWORD),
      caCertificate: "",
    });
  });
});

describe("a stack with an ACME certificate, a database elsewhere, another site for its name and a secret setting", () => {
  let deployment: Deployment;

  beforeAll(async () => {
    const settings = {
      ...SETTINGS,
      tls: { mode: "acme", acmeEmail: "hostmaster@matrix.invalid" },
      database: { host: "db.example.com", port: 6432 },
      nginx: { apexSite: "external", federationPort: true },
      homeserver: { turn_shared_secret: "kept from all eyes" },
    };
    deployment = await up(settings, { secret: ["dbPassword", "homeserver"] });
  });

  test("makes no database, and looks at the other one before Synapse is touched", () => {
    const ofDatabase = deployment.resources.filter(({ name }) => name.startsWith("database-"));
    expect(ofDatabase.map(({ name }) => name).sort()).toEqual(["database-check", "database-packages"]);
    expect(earlierThan(deployment, "synapse-service-activation")).toContain("database-check");
    expect(plain(deployment.get("homeserver-homeserver").inputs.stdin)).toContain("port: 6432\n");
  });

  test("asks for a certificate when nginx answers, and looks at the whole last", () => {
    expect(earlierThan(deployment, "acme-issuance")).toEqual(
      expect.arrayContaining(["nginx-activation", "base-firewall", "tls-stand-in"]),
    );
    expect(earlierThan(deployment, "health-client")).toContain("acme-issuance");
  });

  test("opens the port of federation", () => {
    const variables = (name: string) => scriptCalls(deployment.get(name))[0]?.variables;
    expect(variables("base-firewall")).toMatchObject({ OPEN: "http https 8448/tcp" });
    expect(variables("base-selinux")).toMatchObject({ WEB_PORTS: "8448" });
    expect(plain(deployment.get("nginx-site").inputs.stdin)).toContain("listen 8448 ssl http2;");
  });

  test("leaves its name to the other site", () => {
    expect(plain(deployment.get("nginx-site").inputs.stdin)).not.toMatch(/server_name[^;]* example\.com[ ;]/);
    expect(scriptCalls(deployment.get("health-client"))[0]?.variables.APEX).toBe("elsewhere");
  });

  test("shows no secret anywhere", () => {
    expect(deployment.get("homeserver-homeserver").inputs.stdin).toBeInstanceOf(Secret);
    expectHidden(deployment, ["kept from all eyes", "correct horse", "generated-"]);
  });

  test("tells its scripts what they ask for, and nothing else", () => {
    expectTold(deployment);
  });

  test("touches the machine only after it was found fit", () => {
    for (const { name, dependsOn } of deployment.commands) {
      if (!FIRST.includes(name)) expect(dependsOn).toContain("remains-data");
    }
  });
});

describe("a stack that is to be purged", () => {
  const settings = { ...SETTINGS, purge: "true", backup: { recipient: PUBLIC_KEY } };
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await up(settings);
  });

  test("loses its data after all else, and begins with a last backup", () => {
    for (const { name, dependsOn } of deployment.commands)
      if (!FIRST.includes(name)) expect([name, dependsOn]).toEqual([name, expect.arrayContaining(["remains-data"])]);
    const { dependsOn } = deployment.get("last-backup-made");
    expect(dependsOn).toEqual(expect.arrayContaining(["backup-timed-activation", "admin-account", "health-client"]));
  });

  test("says so", () => {
    expect(nextSteps(deployment)).toContain(
      "Warning: purge is true: pulumi destroy removes the database, the media and the signing key, after a last backup, which stays.",
    );
  });

  test("makes no last backup where none is wanted", async () => {
    const without = await up({ ...settings, purge: "without-backup" });
    expect(without.resources.map(({ name }) => name)).not.toContain("last-backup-made");
    expect(nextSteps(without)).toContain("without a last backup.");
  });
});

describe("a stack with workers", () => {
  const WORKERS = { generic: 2, federationSender: 1, media: 1 };
  const ACTIVATIONS = ["generic1", "generic2", "federation-sender1", "media1"].map(
    (name) => `worker-${name}-service-activation`,
  );
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await up({ ...SETTINGS, workers: WORKERS });
  });

  test("has Redis before Synapse, workers after it, nginx after them, and looks at the whole last", () => {
    expect(earlierThan(deployment, "synapse-service-activation")).toContain("redis-service-activation");
    for (const name of ACTIVATIONS) {
      expect(earlierThan(deployment, name)).toContain("synapse-service-activation");
      expect(earlierThan(deployment, "nginx-site")).toContain(name);
      expect(earlierThan(deployment, "health-workers")).toContain(name);
    }
    expect(earlierThan(deployment, "health-workers")).toContain("nginx-activation");
  });

  test("gets one more without a touch to Synapse or to the others", async () => {
    const more = await up({ ...SETTINGS, workers: { ...WORKERS, generic: 3 } });
    expect(changes(deployment, more)).toEqual([
      "health-client",
      "health-workers",
      "nginx-activation",
      "nginx-site",
      "worker-generic3-config",
      "worker-generic3-service-activation",
      "worker-generic3-service-unit",
    ]);
  });

  test.each([
    ["nginx-site", ["nginx-activation", "nginx-site"]],
    ["homeserver-worker-secrets", ["homeserver-worker-secrets", "synapse-service-activation"]],
    ["synapse-install", ["synapse-install", "synapse-service-activation"]],
    ["worker-generic1-config", ["worker-generic1-config", "worker-generic1-service-activation"]],
    ["redis-service-unit", ["redis-service-activation", "redis-service-unit"]],
    ["host-claim", ["host-claim"]],
  ])("runs %s again when a repair names it, and what has to take it up, and nothing else", async (name, again) => {
    const repaired = await up({ ...SETTINGS, workers: WORKERS, reconcile: { [name]: "2026-11-25T02:30:00Z" } });
    expect(changes(deployment, repaired)).toEqual(["health-client", "health-workers", ...again].sort());
  });

  test("restarts Synapse when who sends to other servers is another", async () => {
    const more = await up({ ...SETTINGS, workers: { ...WORKERS, federationSender: 2 } });
    expect(changes(deployment, more)).toEqual(
      expect.arrayContaining(["homeserver-homeserver", "synapse-service-activation"]),
    );
  });

  test("lets SELinux know that nginx connects to other ports", () => {
    expect(scriptCalls(deployment.get("base-selinux"))[0]?.variables.BOOLEANS).toBe(
      "httpd_can_network_relay httpd_can_network_connect",
    );
  });

  test("makes their secrets anew when it is told to", async () => {
    const rotated = await up({ ...SETTINGS, workers: WORKERS, rotate: { workerSecrets: "2026-11-25" } });
    for (const name of ["homeserver-replication", "redis-password"]) {
      expect(Object.keys(deployment.get(name).inputs)).not.toContain("keepers");
      expect(rotated.get(name).inputs.keepers).toEqual({ rotation: "2026-11-25" });
    }
  });

  test("tells its scripts what they ask for, and shows no secret", () => {
    expectTold(deployment);
    expectHidden(deployment, ["correct horse", "generated-"]);
  });
});

describe("a stack with backups", () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await up({ ...SETTINGS, backup: { recipient: PUBLIC_KEY, keep: 3 } });
  });

  test("makes them once Synapse runs, and changes nothing else", async () => {
    const names = changes(await up(SETTINGS), deployment);
    expect(names).toEqual([
      "backup-packages",
      "backup-recipient",
      "backup-restore",
      "backup-timed-activation",
      "backup-timed-program",
    ]);
    for (const name of names) expect(earlierThan(deployment, name)).toContain("synapse-service-activation");
  });

  test("tells its scripts what they ask for, and shows no secret", () => {
    expectTold(deployment);
    expectHidden(deployment, ["correct horse", "generated-"]);
    for (const name of ["backup-timed-program", "backup-restore"])
      expect(scriptCalls(deployment.get(name)).flatMap(mistold)).toEqual([]);
  });

  test("copies them to a store with a key that nobody sees", async () => {
    const s3 = {
      endpoint: "https://s3.example.com",
      bucket: "backups",
      accessKeyId: "machine",
      secretAccessKey: "only/for+the=store",
    };
    const stored = await up(
      { ...SETTINGS, backup: { recipient: PUBLIC_KEY, keep: 3, s3 } },
      { secret: ["dbPassword", "backup"] },
    );
    expect(changes(deployment, stored)).toEqual([
      "backup-store-configuration",
      "backup-store-program",
      "backup-store-s3cmd-install",
      "backup-store-s3cmd-packages",
      "backup-store-s3cmd-requirements",
      "backup-timed-program",
    ]);
    expect(earlierThan(stored, "backup-timed-program")).toContain("backup-store-configuration");
    expect(scriptCalls(stored.get("backup-store-program"))[0]?.variables.KEEP).toBe("3");
    expectHidden(stored, ["only/for+the=store"]);
    expectTold(stored);
  });

  test("says what has to be kept, and a stack without backups that it has none", async () => {
    expect(nextSteps(deployment)).toContain("Keep the private key of backup.recipient in two places");
    expect(nextSteps(deployment)).not.toContain("no backups");
    expect(nextSteps(deployment)).toMatch(/\d\. Make accounts for people: make user STACK=\w+ NAME=alice$/);
    expect(nextSteps(await up(SETTINGS))).toContain(
      "Warning: there are no backups. Set backup.recipient; docs/backup.md",
    );
  });
});

describe("the server name", () => {
  test.each([false, true])("cannot change once it was deployed (preview: %s)", async (preview) => {
    const change = up(SETTINGS, { preview, lastOutputs: { serverName: "old.example" } });
    await expect(change).rejects.toBeInstanceOf(pulumi.RunError);
    await expect(change).rejects.toThrow(
      /^serverName cannot change from old\.example to example\.com: .*pulumi config set serverName old\.example/s,
    );
  });

  test("is asked of this very stack, and may stay", async () => {
    const deployment = await up(SETTINGS, { lastOutputs: { serverName: "example.com" } });
    const references = deployment.resources.filter(({ type }) => type === "pulumi:pulumi:StackReference");
    expect(references.map(({ name }) => name)).toEqual(["organization/matrix-homeserver/test"]);
    expect(deployment.get("host-facts")).toBeDefined();
  });

  test.each([[{}], [{ other: "old.example" }]])("is free when the last outputs are %j", async (lastOutputs) => {
    await expect(up(SETTINGS, { lastOutputs })).resolves.toBeDefined();
  });
});

describe("settings that are not right", () => {
  test("are refused all at once, by their names, before anything is registered, and without a secret", async () => {
    const registered = jest.fn();
    const attempt = up({
      serverName: "https://example.com",
      dbPassword: "short",
      domians: ["a.example.com"],
      synapse: { logLevel: "LOUD" },
    });
    await attempt.then(registered, () => undefined);
    expect(registered).not.toHaveBeenCalled();
    await expect(attempt).rejects.toBeInstanceOf(pulumi.RunError);
    const message = await attempt.then(
      () => "",
      (error: unknown) => String(error),
    );
    for (const name of ["serverName", "dbPassword", "host", "domians", "synapse.logLevel"])
      expect(message).toContain(name);
    expect(message).not.toContain("short");
  });

  test("are refused in a stack without any", async () => {
    await expect(up({})).rejects.toThrow(/serverName.*dbPassword.*host/s);
  });
});

/** A line a resource, in the order of their names; with what changes with every release taken out. */
function graphOf({ resources }: Deployment): string[] {
  return resources
    .filter(({ type }) => type !== STACK)
    .map((resource) => `${resource.name} (${kindOf(resource)}): ${lineOf(resource)}`)
    .map((line) => line.replaceAll("by sudo -n ", "by ").replaceAll(/\d+\.\d+\.\d+-[0-9a-f]{12}/g, "RELEASE"))
    .sort();
}

function kindOf({ type, parent }: Registered): string {
  return [ROOT, HOMESERVER].includes(parent) ? type : `${type} of ${parent}`;
}

function skeleton({ resources }: Deployment): unknown {
  return resources
    .map(({ name, type, parent, dependsOn }) => ({ name, type, parent, dependsOn }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** Names of what an update from one to the other would touch on the machine. */
function changes(before: Deployment, after: Deployment): string[] {
  const inputs = ({ commands }: Deployment) =>
    new Map(commands.map((command) => [command.name, JSON.stringify(command.inputs)]));
  const [old, now] = [inputs(before), inputs(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name)).sort();
}

/** All that a resource waits for, at any distance. */
function earlierThan(deployment: Deployment, name: string, seen = new Set<string>()): string[] {
  for (const earlier of deployment.get(name).dependsOn) {
    if (seen.has(earlier)) continue;
    seen.add(earlier);
    earlierThan(deployment, earlier, seen);
  }
  return [...seen];
}

function expectHidden({ resources }: Deployment, secrets: string[]): void {
  for (const { name, inputs, outputs } of resources) {
    const shown = openTexts([inputs, outputs]).join("\n");
    expect({ name, shown: secrets.filter((secret) => shown.includes(secret)) }).toEqual({ name, shown: [] });
  }
}

function expectTold({ commands }: Deployment): void {
  const calls = commands.flatMap(scriptCalls);
  expect(calls.length).toBeGreaterThan(10);
  expect(calls.flatMap(mistold)).toEqual([]);
}

/** A certificate for these names and its key. */
function makeCertificate(...names: string[]): [string, string] {
  const { status, stdout } = spawnSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"],
      ...[
        "-subj",
        `/CN=${names[0] ?? ""}`,
        "-addext",
        `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`,
      ],
      ...["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "-", "-out", "-"],
    ],
    { encoding: "utf8" },
  );
  const [key, certificate] = stdout.match(/-----BEGIN [^]*?-----END [A-Z ]+-----\n/g) ?? [];
  if (status !== 0 || key === undefined || certificate === undefined) throw new Error("openssl made no certificate");
  return [certificate, key];
}
