/* Ordinary changes of a running server: what each may touch, and what it may restart, and that nothing else happens. */
import { Deployment } from "./deployment";
import type { Unit } from "./host";

jest.setTimeout(300_000);

interface Change {
  readonly title: string;
  readonly set?: Record<string, string | number | boolean>;
  readonly secret?: Record<string, string>;
  readonly unset?: string[];
  /** The resources that may change. */
  readonly touches: string[];
  /** The services that get a new main process. */
  readonly restarts: Unit[];
}

const NGINX = ["health-client", "nginx-activation", "nginx-site"];
const SYNAPSE = ["health-client", "homeserver-homeserver", "synapse-service-activation"];
const TLS = ["tls-renewal-program", "tls-selfsigned"];

const homeserver = (title: string, set: Record<string, string | number | boolean>): Change => ({
  title,
  set: Object.fromEntries(Object.entries(set).map(([name, value]) => [`homeserver.${name}`, value])),
  touches: SYNAPSE,
  restarts: ["synapse"],
});

const changes = (serverName: string): Change[] => [
  {
    title: "a larger upload",
    set: { "homeserver.max_upload_size": "100M" },
    touches: [...new Set([...SYNAPSE, ...NGINX])],
    restarts: ["synapse"],
  },
  homeserver("a rate limit", { "rc_message.per_second": 5, "rc_message.burst_count": 50 }),
  homeserver("registration by token", { enable_registration: true, registration_requires_token: true }),
  homeserver("link previews off the table", { url_preview_enabled: false }),
  homeserver("presence off", { "presence.enabled": false }),
  homeserver("room retention", { "retention.enabled": true }),
  homeserver("a room that everybody joins", { "auto_join_rooms[0]": `#hall:${serverName}` }),
  homeserver("statistics reported after all", { report_stats: true }),
  homeserver("a larger cache", { "caches.global_factor": 1 }),
  { title: "a setting taken back", unset: ["homeserver.caches"], touches: SYNAPSE, restarts: ["synapse"] },
  {
    title: "a mail server with its password",
    set: { "homeserver.email.smtp_host": "mail.example.com", "homeserver.email.notif_from": "chat@example.com" },
    secret: { "homeserver.email.smtp_pass": "hunter2 and more" },
    touches: SYNAPSE,
    restarts: ["synapse"],
  },
  {
    title: "a log level",
    set: { "synapse.logLevel": "INFO" },
    touches: ["health-client", "homeserver-log", "synapse-service-activation"],
    restarts: [],
  },
  {
    title: "another domain",
    set: {
      "domains[0]": `matrix.${serverName}`,
      "domains[1]": `synapse.${serverName}`,
      "domains[2]": `chat.${serverName}`,
    },
    touches: [...NGINX, ...TLS],
    restarts: [],
  },
  { title: "HSTS", set: { "nginx.hsts": true }, touches: [...NGINX, "well-known-snippet"], restarts: [] },
  {
    title: "the admin API for a network",
    set: { "nginx.adminNetworks[0]": "192.0.2.0/24" },
    touches: NGINX,
    restarts: [],
  },
  { title: "the API on the server name", set: { "nginx.apexProxy": true }, touches: NGINX, restarts: [] },
  {
    title: "the federation port",
    set: { "nginx.federationPort": true },
    touches: [...NGINX, "base-firewall", "base-selinux"],
    restarts: [],
  },
  {
    title: "the federation port closed again",
    unset: ["nginx.federationPort"],
    touches: [...NGINX, "base-firewall", "base-selinux"],
    restarts: [],
  },
  {
    title: "another address for clients",
    set: { "domains[0]": `chat.${serverName}`, "domains[2]": `matrix.${serverName}` },
    touches: [...new Set([...NGINX, ...TLS, ...SYNAPSE, "well-known-snippet"])],
    restarts: ["synapse"],
  },
  {
    title: "another database password",
    secret: { dbPassword: "the second password" },
    touches: ["database-database", "homeserver-secrets"],
    restarts: [],
  },
  {
    title: "a password for the administrator",
    secret: { "admin.password": "a much better password" },
    touches: ["admin-account", "admin-password"],
    restarts: [],
  },
];

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.prepare("chg");
  await deployment.stack.up();
});

afterAll(async () => {
  await deployment.remove();
});

it("tries at least twenty", () => {
  expect(changes("example.com").length).toBeGreaterThanOrEqual(20);
});

it.each(changes("SERVER_NAME").map(({ title }, index) => [title, index] as const))("%s", async (_title, index) => {
  const { stack, host, serverName } = deployment;
  const change = changes(serverName)[index];
  if (!change) throw new Error("there is no such change");
  const unit = () => host.run("stat -c %i /etc/systemd/system/synapse.service");
  const before = await host.processes();
  const unitBefore = await unit();
  if (change.set) await stack.set(change.set);
  for (const [path, value] of Object.entries(change.secret ?? {})) await stack.setSecret(path, value);
  for (const path of change.unset ?? []) await stack.unset(path);

  const announced = await stack.preview();
  expect(Object.keys(announced.changes).sort()).toEqual([...change.touches].sort());
  const done = await stack.up();
  expect(done.changes).toEqual(announced.changes);

  const after = await host.processes();
  const restarted = (["synapse", "nginx", "postgresql"] as const).filter((unit) => after[unit] !== before[unit]);
  expect(restarted).toEqual(change.restarts);
  // A unit that is written anew makes systemd read all of its units.
  expect(await unit()).toBe(unitBefore);
});

it("goes on telling the journal what it does, after a reload of its log settings", async () => {
  const { host } = deployment;
  await host.run("systemctl reload synapse; touch /run/e2e-reloaded");
  await deployment.proveServing();
  const said = await host.run(
    "journalctl --sync; journalctl -q -o cat -u synapse --since @$(stat -c %Y /run/e2e-reloaded)",
  );
  expect(said).toMatch(/^INFO synapse\.access\..* "PUT [^ ]*\/send\//m);
  expect(said).not.toContain("logging during logging");
});

it("leaves a server that clients can use, with all of these changes", async () => {
  await deployment.proveServing();
  expect((await deployment.stack.preview()).changes).toEqual({});
});
