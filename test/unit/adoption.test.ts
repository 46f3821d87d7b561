/*
 * What a stack is told of a server that was built by hand, from what was read on its machine. Not proven here: the reading, and
 * the take-over itself, which test/e2e/adopt.test.ts does on hosts.
 */
import { lockedVersions } from "../../components/SynapseVenv";
import { parseSettings } from "../../config";
import type { Found } from "../../config/adoption/found";
import { planAdoption, type Plan, report } from "../../config/adoption/plan";
import { readSites } from "../../config/adoption/nginxSites";
import { makeCertificates } from "./settings.certificates";

const made = makeCertificates();
const NOW = new Date();
const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEgSGAxhyy0bAHEMR8jEJTB6AqDUeFiJbsxBCRMoVnlQ";
const LISTENER = { port: 8008, type: "http", resources: [{ names: ["client", "federation"] }] };
const FILE = "/etc/nginx/conf.d/matrix.conf";

const proxied = (names: string, port = 443) => `
server {
    listen ${port} ssl http2; # a comment with a } in it
    server_name ${names};
    ssl_certificate /etc/nginx/ssl/matrix.crt;
    ssl_certificate_key "/etc/nginx/ssl/matrix.key";
    location ~ ^(/_matrix|/_synapse/client) { proxy_pass http://localhost:8008; }
}`;
const discovery = (extra = "") => `
server {
    listen 443 ssl;
    server_name example.com;
    ${extra}
    location /.well-known/matrix/client { return 200 '{"m.homeserver": {"base_url": "https://matrix.example.com"}}'; }
}`;
const OTHER_SITE = "server { listen 80; server_name www.example.org; root /srv/www; }";
const nginx = (files: Readonly<Record<string, string>>) =>
  Object.entries({
    "/etc/nginx/nginx.conf": `http { include /etc/nginx/conf.d/*.conf; server { listen 80; server_name _; root /usr/share/nginx/html; } }`,
    ...files,
  })
    .map(([file, text]) => `# configuration file ${file}:\n${text}\n`)
    .join("\n");

const POSTGRESQL = {
  kind: "postgresql",
  host: "localhost",
  port: 5432,
  name: "synapse",
  user: "synapse",
  password: "Grown-by-hand-1",
  sslMode: null,
  shape: "UTF8 C C synapse synapse",
  hasCluster: true,
  users: 7,
  freeAdmin: "admin",
} as const;
const SQLITE = {
  kind: "sqlite",
  path: "/opt/synapse/homeserver.db",
  bytes: 5e6,
  users: 2,
  freeAdmin: "admin",
} as const;

function found(changes: Partial<Found> = {}, settings: Readonly<Record<string, unknown>> = {}): Found {
  return {
    homeserver: {
      server_name: "example.com",
      listeners: [LISTENER],
      registration_shared_secret: "old",
      report_stats: false,
      log_config: "/opt/synapse/log.config",
      ...settings,
    },
    configFiles: ["/opt/synapse/homeserver.yaml"],
    version: "1.100.0",
    environment: "/opt/synapse/env",
    isVenv: true,
    unit: "matrix-synapse",
    dropIns: [],
    account: "root",
    synapseHome: null,
    workers: 0,
    database: POSTGRESQL,
    signingKey: { path: "/opt/synapse/example.com.signing.key", id: "ed25519:a_abcd" },
    mediaStore: { path: "/opt/synapse/media_store", movable: true },
    nginx: nginx({ [FILE]: proxied("matrix.example.com synapse.example.com") + discovery() }),
    pem: {},
    ...changes,
  };
}

const plan = (what: Found, acmeEmail?: string) =>
  planAdoption(what, { now: NOW, ...(acmeEmail !== undefined && { acmeEmail }) });
function planOf(what: Found, acmeEmail?: string): Plan {
  const result = plan(what, acmeEmail);
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  return result;
}
function problemsOf(what: Found): readonly string[] {
  const result = plan(what);
  return "problems" in result ? result.problems : [];
}
/** The settings, secrets at their places, as a stack would have them. */
function stackOf({ settings, secrets }: Plan): Record<string, string> {
  const stack: Record<string, unknown> = {
    dbPassword: "a new password",
    host: { address: "203.0.113.10", hostKey: HOST_KEY },
    ...structuredClone(settings),
  };
  for (const [path, value] of Object.entries(secrets)) {
    const keys = path.split(/[.[\]]+/).filter(Boolean);
    let at = stack;
    for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
    at[keys.at(-1) ?? ""] = value;
  }
  return Object.fromEntries(
    Object.entries(stack).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

it("keeps what the old server was told and the program would not say by itself, secrets apart", () => {
  const what = found(
    {},
    {
      max_upload_size: "200M",
      trusted_key_servers: [{ server_name: "matrix.org" }],
      email: { smtp_host: "mail.example.com", smtp_pass: "hidden" },
      oidc_providers: [{ idp_id: "one", client_secret: "hidden too" }],
      password_config: { pepper: "kept" },
      turn_uris: null,
      frobnicate: true,
    },
  );
  const result = planOf(what);
  expect(result.settings).toMatchObject({
    serverName: "example.com",
    homeserver: {
      max_upload_size: "200M",
      email: { smtp_host: "mail.example.com" },
      oidc_providers: [{ idp_id: "one" }],
      password_config: {},
    },
    adopt: {
      unit: "matrix-synapse",
      environment: "/opt/synapse/env",
      signingKey: "/opt/synapse/example.com.signing.key",
      mediaStore: "/opt/synapse/media_store",
      nginxFiles: [FILE],
    },
  });
  expect(Object.keys(result.settings.homeserver as object)).toHaveLength(4);
  expect(result.secrets).toEqual({
    dbPassword: "Grown-by-hand-1",
    "homeserver.email.smtp_pass": "hidden",
    "homeserver.oidc_providers[0].client_secret": "hidden too",
    "homeserver.password_config.pepper": "kept",
  });
  expect(result.left).toEqual(["homeserver.yaml's frobnicate, which is no setting of Synapse"]);
  expect(what.homeserver.password_config).toEqual({ pepper: "kept" });
  expect(report(result)).not.toMatch(/hidden|kept"|Grown/);
});

it("makes settings that a stack takes, whatever the database is", () => {
  for (const database of [POSTGRESQL, SQLITE]) {
    const secretKeys = new Set(["dbPassword", "homeserver", "tls"]);
    const parsed = parseSettings(stackOf(planOf(found({ database }, { password_config: { pepper: "p" } }))), {
      secretKeys,
    });
    expect(parsed).toHaveProperty("settings.homeserver", { password_config: { pepper: "p" } });
    expect(parsed).toHaveProperty("settings.adopt.unit", "matrix-synapse");
  }
  expect(planOf(found({ database: SQLITE })).settings.adopt).toHaveProperty("sqlite", SQLITE.path);
  expect(planOf(found({ database: SQLITE })).secrets).toEqual({});
});

it("takes nobody's account for the administrator's", () => {
  const taken = found({ database: { ...SQLITE, freeAdmin: "homeserver-admin" } });
  expect(planOf(taken).settings.admin).toEqual({ localpart: "homeserver-admin" });
});

it("takes a database elsewhere for what it is", () => {
  const elsewhere = {
    ...POSTGRESQL,
    host: "db.example.com",
    user: "matrix",
    sslMode: "verify-full",
    shape: "UTF8 C C matrix matrix",
  };
  expect(planOf(found({ database: elsewhere })).settings.database).toEqual({
    host: "db.example.com",
    user: "matrix",
    tlsMode: "verify-full",
  });
});

it.each<[string, Found, string]>([
  ["workers", found({ workers: 2 }), "workers are in use"],
  ["redis", found({}, { redis: { enabled: true } }), "workers are in use"],
  [
    "a Python that is not in an environment",
    found({ isVenv: false, environment: "/usr" }),
    "not in a virtual environment but in /usr",
  ],
  ["a newer Synapse", found({ version: "99.0.0" }), "run make lock VERSION=99.0.0 first"],
  ["another account", found({ account: "matrix" }), "it runs as the account matrix"],
  ["another home", found({ synapseHome: "/home/synapse" }), "usermod --home /opt/synapse synapse"],
  ["drop-ins", found({ dropIns: ["/etc/x.conf"] }), "the unit has drop-ins (/etc/x.conf)"],
  ["another port", found({}, { listeners: [{ ...LISTENER, port: 8448 }] }), "does not listen for clients on port 8008"],
  ["no key", found({ signingKey: { path: "/key", id: null } }), "there is no signing key in /key"],
  [
    "media elsewhere",
    found({ mediaStore: { path: "/mnt/media", movable: false } }),
    "on another file system than /opt",
  ],
  [
    "modules",
    found({}, { modules: [{ module: "spam.Checker", config: {} }] }),
    "modules that this program does not install (spam.Checker)",
  ],
  [
    "another role",
    found({ database: { ...POSTGRESQL, user: "synapse_user" } }),
    "its database is synapse of the role synapse_user",
  ],
  [
    "another collation",
    found({ database: { ...POSTGRESQL, shape: "UTF8 en_US.UTF-8 en_US.UTF-8 synapse synapse" } }),
    "'UTF8 en_US.UTF-8 en_US.UTF-8 synapse'",
  ],
  ["another PostgreSQL", found({ database: { ...POSTGRESQL, hasCluster: false } }), "is not the system's own"],
  [
    "a password in a file",
    found({ database: { ...POSTGRESQL, host: "db.example.com", password: null } }),
    "has no password of the database's role synapse: put it there",
  ],
  [
    "a login by the account's name",
    found({ database: { ...POSTGRESQL, host: "", password: null } }),
    "has no password of the database's role synapse, which PostgreSQL will ask for: set one",
  ],
  [
    "a short password",
    found({ database: { ...POSTGRESQL, password: "short" } }),
    "the password of the database's role synapse must",
  ],
])("refuses %s in one sentence", (_what, what, sentence) => {
  const [problem, ...more] = problemsOf(what);
  expect(more).toEqual([]);
  expect(problem).toContain(sentence);
});

it("names all that is in the way at once", () => {
  expect(problemsOf(found({ workers: 1, account: "matrix" }))).toHaveLength(2);
});

it("says of listeners that it does not know that they go", () => {
  const metrics = { port: 9000, type: "metrics" };
  expect(planOf(found({}, { listeners: [LISTENER, metrics] })).left).toEqual([
    "the listener of the type metrics on port 9000",
  ]);
});

it("knows no newer Synapse than the locks do", () => {
  expect(problemsOf(found({ version: lockedVersions().at(-1) ?? "" }))).toEqual([]);
});

describe("nginx", () => {
  const web = (files: Readonly<Record<string, string>>, settings = {}) => found({ nginx: nginx(files) }, settings);

  it("is read with its upstreams, comments and quotes", () => {
    const text = nginx({
      [FILE]: `upstream hs { server 127.0.0.1:8008; }\nserver { listen [::]:8448 ssl; server_name a.example b.example; location / { proxy_pass http://hs; } add_header X "a } b"; }`,
    });
    expect(readSites(text)).toEqual([
      expect.objectContaining({ file: "/etc/nginx/nginx.conf", names: ["_"], other: true }),
      {
        file: FILE,
        names: ["a.example", "b.example"],
        ports: [8448],
        upstreamPorts: [8008],
        wellKnown: false,
        other: false,
      },
    ]);
  });

  it("says the domains, the address that clients use first", () => {
    expect(planOf(found()).settings).not.toHaveProperty("domains");
    const chat = { [FILE]: proxied("chat.example.com hs.example.com") };
    expect(planOf(web(chat, { public_baseurl: "https://hs.example.com/" })).settings).toMatchObject({
      domains: ["hs.example.com", "chat.example.com"],
      nginx: { apexSite: "external" },
    });
    expect(
      planOf(web({ [FILE]: proxied("example.com") }, { public_baseurl: "https://example.com" })).settings.domains,
    ).toEqual(["example.com"]);
  });

  it("says whether the server name has the API, and port 8448", () => {
    const both = {
      [FILE]: proxied("matrix.example.com") + proxied("example.com") + proxied("matrix.example.com", 8448),
    };
    expect(planOf(web(both)).settings).toMatchObject({ nginx: { apexProxy: true, federationPort: true } });
  });

  it("keeps a site of the server name that serves other things, in a file of its own", () => {
    const files = { [FILE]: proxied("matrix.example.com"), "/etc/nginx/conf.d/www.conf": discovery("root /srv/www;") };
    const result = planOf(web(files));
    expect(result.settings).toMatchObject({ nginx: { apexSite: "snippet" }, adopt: { nginxFiles: [FILE] } });
    expect(result.kept.join("\n")).toContain("the site of example.com in /etc/nginx/conf.d/www.conf");
  });

  it("is refused where a file has another site, or no name", () => {
    expect(problemsOf(web({ [FILE]: proxied("matrix.example.com") + OTHER_SITE }))).toEqual([
      `${FILE} has, beside the homeserver's sites, that of www.example.org: put the homeserver's into a file of their own in /etc/nginx/conf.d first`,
    ]);
    expect(problemsOf(web({ [FILE]: proxied("_") }))[0]).toContain("has no server_name, or one that is a pattern");
  });

  it("may be missing", () => {
    expect(planOf(found({ nginx: "" })).left.join("\n")).toContain("nginx needs ports 80 and 443");
  });
});

describe("the certificate", () => {
  const chain = `${made.server.certificate}\n${made.intermediate.certificate}`;
  const pem = { "/etc/nginx/ssl/matrix.crt": chain, "/etc/nginx/ssl/matrix.key": made.server.key };

  it("is kept when it is good for all names, its key a secret", () => {
    const result = planOf(found({ pem }));
    expect(result.settings.tls).toMatchObject({ mode: "provided", certificate: chain.trim() });
    expect(result.secrets["tls.key"]).toBe(made.server.key.trim());
    expect(parseSettings(stackOf(result), { secretKeys: new Set(["dbPassword", "tls"]) })).toHaveProperty(
      "settings.tls.mode",
      "provided",
    );
  });

  it("is one of the machine's own where it is not good, and says why", () => {
    const what = found(
      { pem, nginx: nginx({ [FILE]: proxied("chat.example.com") }) },
      { public_baseurl: "https://chat.example.com" },
    );
    const result = planOf(what);
    expect(result.settings).not.toHaveProperty("tls");
    expect(result.changes.join("\n")).toContain("is not good for chat.example.com");
  });

  it("of certbot's is got anew, where an address was given", () => {
    const live = "/etc/letsencrypt/live/matrix.example.com";
    const text = nginx({ [FILE]: proxied("matrix.example.com").replaceAll("/etc/nginx/ssl", live) });
    const what = found({ nginx: text });
    expect(planOf(what, "me@example.net").settings.tls).toEqual({ mode: "acme", acmeEmail: "me@example.net" });
  });
});
