/*
 * What the templates become, read again by a parser of each format: homeserver.yaml and log.yaml by the rules of YAML 1.1, as
 * Synapse reads them; nginx's files by a small reader of its syntax, and by nginx itself where there is one; systemd's units by
 * systemd. Not proven here: that Synapse and nginx do with them what is meant, which takes a machine (test/e2e).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

import { parse } from "yaml";

import { renderHomeserverYaml, type HomeserverSettings, type HomeserverView } from "../../components/HomeserverConfig";
import { renderSite, type Site } from "../../components/NginxProxy";
import { renderTemplate } from "../../components/templates";
import { renderSnippet } from "../../components/WellKnown";
import { routing } from "../../components/workerRouting";
import { workersOf } from "../../components/workers";

const TEMPLATES = resolve(__dirname, "../../templates");
const folder = mkdtempSync(join(tmpdir(), "matrix-templates-"));

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const TIMER_VIEW = { description: "A program", schedule: "daily", randomDelay: "6h" };

/** A view of every template: what it has to be given. */
const VIEWS: Record<string, object> = {
  "opt/synapse/homeserver.yaml": homeserverView({}),
  "opt/synapse/log.yaml": { level: "WARNING" },
  "etc/nginx/conf.d/matrix-homeserver.conf": { ...site({}), allNames: ["example.com"], vhosts: [], admin: false },
  "etc/matrix-homeserver/redis.conf": { port: 16379, password: "p" },
  "etc/matrix-homeserver/worker.yaml": workerView({}),
  "etc/nginx/matrix-homeserver/well-known.conf": { documents: [{ path: "/a", text: "{}" }] },
  "etc/matrix-homeserver/backup-store.cfg": {
    accessKeyId: "id",
    secretAccessKey: "key",
    authority: "s3.example.com",
    region: "us-east-1",
    caFiles: [{ path: "/ca.pem" }],
  },
  "etc/systemd/system/service": serviceView({}),
  "etc/systemd/system/timed.service": timedServiceView({}),
  "etc/systemd/system/timed.timer": TIMER_VIEW,
};

describe("every template", () => {
  it("is tested here", () => {
    const files = readdirSync(TEMPLATES, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(TEMPLATES.length + 1));
    expect(files.sort()).toEqual(
      Object.keys(VIEWS)
        .map((name) => `${name}.mustache`)
        .sort(),
    );
  });

  it.each(Object.keys(VIEWS))("%s says who wrote it, and ends in one newline", (file) => {
    const text = renderTemplate(file, VIEWS[file] ?? {});
    expect(text).toMatch(/^# Written by the matrix-homeserver stack; /);
    expect(text).toMatch(/[^\n]\n$/);
    expect(text).not.toContain("{{");
  });

  it.each(Object.entries(VIEWS).flatMap(([file, view]) => Object.keys(view).map((name) => [file, name] as const)))(
    "%s is refused without %s",
    (file, name) => {
      const view = Object.fromEntries(Object.entries(VIEWS[file] ?? {}).filter(([key]) => key !== name));
      const used = fileUses(file, name);
      if (used) expect(() => renderTemplate(file, view)).toThrow(`the template asks for {{${name}}}`);
      else expect(renderTemplate(file, view)).not.toBe("");
    },
  );

  it("takes an empty text, a zero and a false for values, and null for nothing", () => {
    expect(renderTemplate("opt/synapse/log.yaml", { level: "" })).toContain("level: \n");
    expect(renderTemplate("opt/synapse/log.yaml", { level: 0 })).toContain("level: 0\n");
  });

  it("puts values in as they are, since no format here is HTML", () => {
    expect(renderTemplate("opt/synapse/log.yaml", { level: `<"&'>` })).toContain(`level: <"&'>\n`);
  });
});

describe("homeserver.yaml", () => {
  it("has all that Synapse needs, as it was given", () => {
    const view = homeserverView({});
    expect(readYaml(renderHomeserverYaml(view))).toEqual({
      server_name: "example.com",
      public_baseurl: "https://matrix.example.com",
      report_stats: false,
      pid_file: "/opt/synapse/homeserver.pid",
      listeners: [
        {
          port: 8008,
          bind_addresses: ["::1", "127.0.0.1"],
          type: "http",
          tls: false,
          x_forwarded: true,
          resources: [{ names: ["client", "federation"], compress: false }],
        },
      ],
      database: {
        name: "psycopg2",
        args: {
          user: "synapse",
          passfile: "/opt/synapse/secrets/pgpass",
          dbname: "synapse",
          host: "/var/run/postgresql",
          port: 5432,
          cp_min: 5,
          cp_max: 10,
        },
      },
      log_config: "/opt/synapse/log.yaml",
      media_store_path: "/opt/synapse/media_store",
      max_upload_size: "50M",
      signing_key_path: "/opt/synapse/example.com.signing.key",
      registration_shared_secret_path: "/opt/synapse/secrets/registration_shared_secret",
      macaroon_secret_key_path: "/opt/synapse/secrets/macaroon_secret_key",
      form_secret_path: "/opt/synapse/secrets/form_secret",
      trusted_key_servers: [{ server_name: "matrix.org" }],
      suppress_key_server_warning: true,
    });
  });

  it("is the template itself when nothing is set, comments and all", () => {
    const view = homeserverView({});
    const unquoted = (text: string) => text.replaceAll('"', "");
    expect(unquoted(renderHomeserverYaml(view))).toBe(unquoted(renderTemplate("opt/synapse/homeserver.yaml", view)));
  });

  it.each(["null.example", "xn--bcher-kva.example", "0.example"])("keeps the name %s a text", (name) => {
    expect(readYaml(renderHomeserverYaml(homeserverView({ serverName: name })))).toMatchObject({ server_name: name });
  });

  const keepsDatabase = (name: string) => {
    const view = homeserverView({ database: [{ name: "dbname", value: name }] });
    expect(readYaml(renderHomeserverYaml(view))).toMatchObject({ database: { args: { dbname: name } } });
  };
  it.each(["synapse", "a\\b", "ü", "_x1", "2001:db8::1", "::1", "db.example.com"])(
    "keeps a database's name %j a text",
    keepsDatabase,
  );
  it.each(["no", "null", "true", "1_000", "2024-01-01", "~", "it's: # {a}", "[x", "@x", "*x", " x ", '"'])(
    "keeps a database's name %j a text",
    keepsDatabase,
  );

  describe("with settings", () => {
    const rendered = (settings: HomeserverSettings) => renderHomeserverYaml(homeserverView({}), settings);

    it("has a new key at its end, and all else as before", () => {
      const text = rendered({ enable_registration: false });
      expect(text).toBe(`${rendered({})}enable_registration: false\n`);
    });

    it("merges objects key by key, also where the template has them", () => {
      const yaml = readYaml(
        rendered({
          database: { args: { cp_max: 20, keepalives_idle: 10 } },
          rc_login: { address: { per_second: 0.5 } },
        }),
      );
      expect(yaml).toMatchObject({
        database: { name: "psycopg2", args: { user: "synapse", cp_min: 5, cp_max: 20, keepalives_idle: 10 } },
        rc_login: { address: { per_second: 0.5 } },
      });
    });

    it("replaces a list as a whole", () => {
      expect(readYaml(rendered({ trusted_key_servers: [] }))).toMatchObject({ trusted_key_servers: [] });
      expect(readYaml(rendered({ trusted_key_servers: [{ server_name: "a" }, { server_name: "b" }] }))).toMatchObject({
        trusted_key_servers: [{ server_name: "a" }, { server_name: "b" }],
      });
    });

    it("keeps the comments, next to what they are about", () => {
      const text = rendered({ listeners: [], max_upload_size: "100M", enable_metrics: true });
      expect(text).toMatch(/^# Written by the matrix-homeserver stack; /);
      const comments = (of: string) => of.split("\n").filter((line) => line.trim().startsWith("#"));
      expect(comments(rendered({ max_upload_size: "100M", enable_metrics: true }))).toEqual(comments(rendered({})));
    });

    it("is the same text for the same settings in another order", () => {
      expect(rendered({ b: { y: 1, x: 2 }, a: [1, 2] })).toBe(rendered({ a: [1, 2], b: { x: 2, y: 1 } }));
    });

    it("keeps an empty object, a null and an empty text", () => {
      expect(readYaml(rendered({ a: {}, b: null, c: "" }))).toMatchObject({ a: {}, b: null, c: "" });
    });

    const keeps = (_what: string, texts: readonly string[]) => {
      const settings = { texts, ...Object.fromEntries(texts.map((text, index) => [`text${index}`, text])) };
      expect(readYaml(rendered(settings))).toMatchObject(settings);
      expect(pyYaml(rendered(settings))).toMatchObject(settings);
    };
    it.each([
      ["quotes and backslashes", ["'", '"', "\\", "it's", '"a"', "\\n", "a\\"]],
      ["blanks and lines", [" a", "a ", "a\nb", "a\n", "\n", "\ta", "a\r\nb"]],
      ["texts with a meaning in YAML", ["a: b", "- a", "# a", "a # b", "{a", "[a", "&a", "*a", "!a", "%a", "@a", "`a"]],
      [
        "long and foreign texts",
        ["x".repeat(500), "word ".repeat(100), "grüße", "日本語", "😀", "{{folder}}", "{{{x}}}"],
      ],
    ])("keeps %s", keeps);
    it.each([
      ["words that mean something", ["yes", "no", "on", "off", "null", "~", "true", "y"]],
      ["texts that look like numbers", ["1", "010", "0x1f", "0b1", "1_000", "1e3", "1.5", ".inf", "+1", "0o17"]],
      ["texts that look like times", ["2024-01-01", "12:30:45", "22:00", "2001-12-14t21:59:43.10-05:00"]],
      ["texts that merge and default", ["<<", "="]],
    ])("keeps %s", keeps);

    it("keeps numbers, truths and keys of all kinds", () => {
      const settings = {
        numbers: [0, -1, 1.5, 65536],
        truths: [true, false],
        keys: { "a.b": 1, "it's": 2, ü: 3 },
      };
      expect(readYaml(rendered(settings))).toMatchObject(settings);
      expect(pyYaml(rendered(settings))).toMatchObject(settings);
    });
  });
});

describe("log.yaml", () => {
  it.each(["DEBUG", "INFO", "WARNING", "ERROR"])("has the level %s, and Synapse's statements never", (level) => {
    expect(readYaml(renderTemplate("opt/synapse/log.yaml", { level }))).toEqual({
      version: 1,
      disable_existing_loggers: false,
      formatters: { journal: { format: "%(levelname)s %(name)s - %(request)s - %(message)s" } },
      filters: { context: { "()": "synapse.logging.context.LoggingContextFilter" } },
      handlers: {
        console: {
          class: "logging.StreamHandler",
          formatter: "journal",
          filters: ["context"],
          stream: "ext://sys.__stdout__",
        },
      },
      loggers: { "synapse.storage.SQL": { level: "INFO" } },
      root: { level, handlers: ["console"] },
    });
  });
});

describe("the well-known snippet", () => {
  it.each([
    ["https://matrix.example.com", "matrix.example.com:443"],
    ['https://matrix.example.com/it\'s/$host/${x}/"a"/b\\c', "matrix.example.com:443"],
  ])("answers with the documents of %s", (publicBaseUrl, server) => {
    const locations = readNginx(renderSnippet(publicBaseUrl));
    expect(locations.map(({ words }) => words)).toEqual([
      ["location", "=", "/.well-known/matrix/server"],
      ["location", "=", "/.well-known/matrix/client"],
    ]);
    expect(locations.map(answerOf)).toEqual([{ "m.server": server }, { "m.homeserver": { base_url: publicBaseUrl } }]);
  });

  it("says that it is JSON for everybody", () => {
    for (const { block } of readNginx(renderSnippet("https://matrix.example.com"))) {
      expect(directive(block, "default_type")).toEqual([["application/json"]]);
      expect(directive(block, "add_header")).toEqual([["Access-Control-Allow-Origin", "*", "always"]]);
    }
  });

  it("says HSTS when it is told to, which nginx would not take over from the server's block", () => {
    for (const { block } of readNginx(renderSnippet("https://matrix.example.com", true))) {
      expect(directive(block, "add_header")).toEqual([
        ["Access-Control-Allow-Origin", "*", "always"],
        ["Strict-Transport-Security", "max-age=31536000", "always"],
      ]);
    }
  });

  it("has no variable that nginx would put something in for", () => {
    expect(renderSnippet("https://matrix.example.com/$host")).not.toContain("$");
  });

  function answerOf({ block }: Directive): unknown {
    const [status, text = ""] = directive(block, "return")[0] ?? [];
    expect(status).toBe("200");
    return JSON.parse(text);
  }
});

describe("a worker's file", () => {
  it("says where it listens, on the loopback alone, and for what", () => {
    expect(readYaml(renderTemplate("etc/matrix-homeserver/worker.yaml", workerView({})))).toEqual({
      worker_app: "synapse.app.generic_worker",
      worker_name: "generic1",
      worker_log_config: "/opt/synapse/log.yaml",
      worker_listeners: [
        {
          port: 8101,
          bind_addresses: ["127.0.0.1"],
          type: "http",
          tls: false,
          x_forwarded: true,
          resources: [{ names: ["client", "federation"], compress: false }],
        },
      ],
    });
  });

  it("has the media of the worker that serves them", () => {
    const yaml = readYaml(renderTemplate("etc/matrix-homeserver/worker.yaml", workerView({ servesMedia: true })));
    expect(yaml).toMatchObject({ enable_media_repo: true });
  });
});

describe("homeserver.yaml with workers", () => {
  const workers = { replicationPort: 9093, redisPort: 16379, federationSenders: [], pushers: [] };
  const rendered = (change: Partial<NonNullable<HomeserverView["workers"]>>) =>
    readYaml(renderHomeserverYaml(homeserverView({ workers: { ...workers, ...change } })));

  it("has where processes meet, and a main process that does all but answer", () => {
    const { listeners, ...yaml } = rendered({}) as { listeners: unknown[] };
    const { listeners: alone, ...rest } = readYaml(renderHomeserverYaml(homeserverView({}))) as typeof yaml & {
      listeners: unknown[];
    };
    expect(listeners).toEqual([
      ...alone,
      { port: 9093, bind_addresses: ["127.0.0.1"], type: "http", tls: false, resources: [{ names: ["replication"] }] },
    ]);
    expect(yaml).toEqual({
      ...rest,
      instance_map: { main: { host: "127.0.0.1", port: 9093 } },
      worker_replication_secret_path: "/opt/synapse/secrets/worker_replication_secret",
      redis: {
        enabled: true,
        host: "127.0.0.1",
        port: 16379,
        password_path: "/opt/synapse/secrets/redis_password",
      },
    });
  });

  it("names who does what in its place", () => {
    expect(
      rendered({
        federationSenders: ["federation-sender1", "federation-sender2"],
        pushers: ["pusher1"],
        media: "media1",
        backgroundTasks: "background1",
      }),
    ).toMatchObject({
      federation_sender_instances: ["federation-sender1", "federation-sender2"],
      pusher_instances: ["pusher1"],
      enable_media_repo: false,
      media_instance_running_background_jobs: "media1",
      run_background_tasks_on: "background1",
    });
  });
});

test("Redis listens on the loopback alone, asks for its password, and keeps nothing", () => {
  const lines = renderTemplate("etc/matrix-homeserver/redis.conf", { port: 16379, password: "secret" }).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining(["bind 127.0.0.1", "port 16379", "requirepass secret", 'save ""', "appendonly no"]),
  );
});

describe("nginx's site", () => {
  const WORKERS = workersOf({ generic: 2, federationSender: 1, pusher: 0, media: 1, backgroundTasks: 0 });
  const SITES: [string, Partial<Site>][] = [
    ["by default", {}],
    ["without IPv6", { ipv6: false }],
    ["with the API under the server name", { apexProxy: true }],
    ["with the server name among the domains", { domains: ["example.com", "matrix.example.com"] }],
    ["with the server name as the only domain", { domains: ["example.com"] }],
    ["without the server name", { servesApex: false }],
    ["with a federation port", { federationPort: true }],
    ["with admin networks", { adminNetworks: ["10.0.0.0/8", "2001:db8::/32"] }],
    ["with HSTS", { hsts: true }],
    ["with an ACME server", { webroot: "/var/www/matrix-homeserver" }],
    ["with workers", { workers: routing(WORKERS), adminNetworks: ["10.0.0.0/8"] }],
    ["with one worker, for media", { workers: routing(WORKERS.filter(({ kind }) => kind === "media")) }],
    [
      "with all of it",
      {
        ...{ federationPort: true, adminNetworks: ["10.0.0.0/8"], hsts: true, webroot: "/w", apexProxy: true },
        workers: routing(WORKERS),
      },
    ],
  ];

  describe.each(SITES)("%s", (_name, change) => {
    const view = site(change);
    const text = renderSite(view);
    const config = readNginx(text);
    const servers = blocks(config, "server");
    const onPort = (port: string) => servers.filter((server) => listensOn(server).includes(port));
    const names = [...new Set([...view.domains, ...(view.servesApex ? [view.serverName] : [])])].sort();

    it("has every name in exactly one block of port 443, and in the one that redirects to it", () => {
      expect(
        onPort("443")
          .flatMap((server) => directive(server, "server_name").flat())
          .sort(),
      ).toEqual(names);
      expect(
        onPort("80")
          .flatMap((server) => directive(server, "server_name").flat())
          .sort(),
      ).toEqual(names);
      expect(onPort("80")).toHaveLength(1);
      expect(
        onPort("8448")
          .flatMap((server) => directive(server, "server_name").flat())
          .sort(),
      ).toEqual(view.federationPort ? names : []);
    });

    it("includes discovery in the block of the server name, and in no other", () => {
      const including = servers.filter((server) => directive(server, "include").length > 0);
      expect(including.map((server) => directive(server, "include"))).toEqual(
        view.servesApex || view.domains.includes(view.serverName) ? [[[view.wellKnown]]] : [],
      );
      for (const server of including) {
        expect(directive(server, "server_name").flat()).toContain(view.serverName);
        expect(listensOn(server)).toContain("443");
      }
    });

    it("hands requests on as they were written", () => {
      const passes = all(config, "proxy_pass");
      expect(passes.length).toBeGreaterThan(0);
      for (const [target] of passes) expect(target).toMatch(/^http:\/\/\$?[\w:.]+$/);
      const [upstream] = blocks(config, "upstream");
      expect(directive(upstream ?? [], "server")).toEqual([["127.0.0.1:8008"]]);
      const main = `http://${config[0]?.words[1] ?? ""}`;
      expect(new Set(passes.flat())).toEqual(
        new Set(view.workers === null ? [main] : [main, "http://$matrix_homeserver_process"]),
      );
    });

    it("hands on under the domains, and under the server name only when asked to", () => {
      for (const server of onPort("443")) {
        const served = directive(server, "server_name").flat();
        const isApexOnly = !view.domains.some((domain) => served.includes(domain));
        const passed = all(server, "proxy_pass").length > 0;
        expect({ served, passed }).toEqual({ served, passed: !isApexOnly || view.apexProxy });
        if (!passed) continue;
        const headers = Object.fromEntries(
          all(server, "proxy_set_header").map(([name, value]) => [name, value]),
        ) as unknown;
        expect(headers).toMatchObject({
          Host: "$host:$server_port",
          "X-Forwarded-For": "$remote_addr",
          "X-Forwarded-Proto": "$scheme",
        });
        expect(all(server, "client_max_body_size")).toEqual([["50M"]]);
      }
    });

    it("listens on IPv6 where the machine has it, and writes no access log", () => {
      for (const server of servers) {
        const addresses = directive(server, "listen").map(([address]) => address);
        const ports = addresses.filter((address) => !address?.startsWith("["));
        expect(addresses).toEqual(view.ipv6 ? ports.flatMap((port) => [port, `[::]:${port}`]) : ports);
        expect(directive(server, "access_log")).toEqual([["off"]]);
      }
    });

    it("speaks TLS everywhere but on port 80, where it only redirects", () => {
      for (const server of servers) {
        const encrypted = directive(server, "listen").every((words) => words.includes("ssl"));
        expect(encrypted).toBe(!listensOn(server).includes("80"));
        if (encrypted) {
          expect(directive(server, "ssl_certificate")).toEqual([[view.certificate]]);
          expect(directive(server, "ssl_certificate_key")).toEqual([[view.certificateKey]]);
          expect(directive(server, "ssl_protocols")).toEqual([["TLSv1.2", "TLSv1.3"]]);
        } else {
          expect(all(server, "return")).toEqual([["301", "https://$host$request_uri"]]);
        }
      }
    });

    it("opens the admin API to the given networks only", () => {
      const locations = servers
        .flatMap((server) => blocksOf(server, "location"))
        .filter(({ words }) => words.join(" ").includes("/_synapse/admin"));
      expect(locations.length > 0).toBe(view.adminNetworks.length > 0);
      for (const { block } of locations) {
        expect(directive(block, "allow").flat()).toEqual(view.adminNetworks);
        expect(directive(block, "deny")).toEqual([["all"]]);
      }
      const api = servers.flatMap((server) => blocksOf(server, "location")).filter(({ words }) => words.includes("~"));
      for (const { words } of api) expect("/_synapse/admin/v1/users").not.toMatch(new RegExp(words[2] ?? ""));
    });

    (nginxIsHere() ? it : it.skip)("is a configuration for nginx itself (needs nginx on this machine)", () => {
      expect(judgeByNginx(text, view)).toEqual({ status: 0, stderr: expect.stringContaining("successful") as string });
    });
  });

  it("gives workers what is theirs, each to one that there is, and all else to the main process", () => {
    const workers = routing(WORKERS);
    const config = readNginx(renderSite(site({ workers })));
    const [map] = blocksOf(config, "map").filter(({ words }) => words[2] === "$matrix_homeserver_process");
    const [first, ...others] = (map?.block ?? []).map(({ words }) => words);
    expect(first).toEqual(["default", "matrix_homeserver"]);
    expect(others).toEqual(workers?.routes.map(({ path, upstream }) => [`~${path}`, upstream]));
    const upstreams = new Map(blocksOf(config, "upstream").map(({ words, block }) => [words[1], block]));
    expect(new Set(others.map(([, upstream]) => upstream))).toEqual(
      new Set([...upstreams.keys()].filter((name) => name !== "matrix_homeserver")),
    );
    const servers = (name: string) => directive(upstreams.get(name) ?? [], "server");
    const generic = [
      ["127.0.0.1:8101", "max_fails=0"],
      ["127.0.0.1:8102", "max_fails=0"],
    ];
    expect(servers("matrix_homeserver_by_user")).toEqual(generic);
    expect(servers("matrix_homeserver_any")).toEqual([...generic, ["127.0.0.1:8008", "backup", "max_fails=0"]]);
    expect(servers("matrix_homeserver_media")).toEqual([["127.0.0.1:8401", "max_fails=0"]]);
  });

  it("takes the API's paths as they are and no others", () => {
    const [location] = readNginx(renderSite(site({})))
      .flatMap(({ words, block }) => (words[0] === "server" ? blocksOf(block, "location") : []))
      .filter(({ words }) => words.includes("~"));
    const pattern = new RegExp(location?.words[2] ?? "");
    for (const path of ["/_matrix/client/versions", "/_matrix/federation/v1/version", "/_synapse/client/x"])
      expect(path).toMatch(pattern);
    for (const path of ["/", "/x/_matrix", "/_synapse/admin/v1/users", "/_synapse/metrics", "/health"])
      expect(path).not.toMatch(pattern);
  });
});

describe("systemd's units", () => {
  it("a service says what to run, as whom, and where it may write", () => {
    const unit = readUnit(
      renderTemplate(
        "etc/systemd/system/service",
        serviceView({ writable: ["/a", "/b"], after: ["postgresql.service"] }),
      ),
    );
    expect(unit.get("Unit")).toMatchObject({
      Description: ["Matrix homeserver of example.com"],
      After: ["network-online.target postgresql.service"],
    });
    expect(unit.get("Service")).toMatchObject({
      User: ["synapse"],
      Group: ["synapse"],
      WorkingDirectory: ["/opt/synapse"],
      ExecStart: ["/bin/true --config=/opt/synapse/homeserver.yaml"],
      TimeoutStartSec: ["120"],
      SyslogIdentifier: ["synapse"],
      ProtectSystem: ["strict"],
      ReadWritePaths: ["/a /b"],
      NoNewPrivileges: ["true"],
    });
    expect(unit.get("Install")).toEqual({ WantedBy: ["multi-user.target"] });
  });

  it("a service without folders or earlier units leaves none behind", () => {
    const text = renderTemplate("etc/systemd/system/service", serviceView({ writable: [], after: [] }));
    expect(readUnit(text).get("Service")).toMatchObject({ ReadWritePaths: [""] });
    expect(readUnit(text).get("Unit")).toMatchObject({ After: ["network-online.target"] });
  });

  it("a part of another service starts, stops and reloads with it", () => {
    const change = { after: ["synapse.service"], partOf: "synapse.service", wantedBy: "synapse.service" };
    const unit = readUnit(renderTemplate("etc/systemd/system/service", serviceView(change)));
    expect(unit.get("Unit")).toMatchObject({
      After: ["network-online.target synapse.service"],
      PartOf: ["synapse.service"],
      ReloadPropagatedFrom: ["synapse.service"],
    });
    expect(unit.get("Install")).toEqual({ WantedBy: ["synapse.service"] });
  });

  it("a program by the clock runs at its time, also when the machine was off, and ends", () => {
    const timer = readUnit(renderTemplate("etc/systemd/system/timed.timer", TIMER_VIEW));
    expect(timer.get("Timer")).toMatchObject({
      OnCalendar: ["daily"],
      RandomizedDelaySec: ["6h"],
      Persistent: ["true"],
    });
    const view = timedServiceView({ program: "/usr/local/libexec/x", timeout: "12h", after: ["postgresql.service"] });
    const service = readUnit(renderTemplate("etc/systemd/system/timed.service", view));
    expect(service.get("Service")).toMatchObject({
      Type: ["oneshot"],
      ExecStart: ["/usr/local/libexec/x"],
      TimeoutStartSec: ["12h"],
    });
    expect(service.get("Unit")).toMatchObject({ After: ["network-online.target postgresql.service"] });
  });

  const systemd = spawnSync("systemd-analyze", ["--version"]).status === 0;

  (systemd ? it : it.skip).each([
    ["a service", "synapse.service", renderTemplate("etc/systemd/system/service", serviceView({}))],
    [
      "a service with nothing optional",
      "bare.service",
      renderTemplate("etc/systemd/system/service", serviceView({ writable: [], after: [] })),
    ],
    [
      "a part of a service",
      "part.service",
      renderTemplate(
        "etc/systemd/system/service",
        serviceView({ writable: [], partOf: "multi-user.target", wantedBy: "multi-user.target" }),
      ),
    ],
    [
      "a program by the clock",
      "timed.service",
      renderTemplate("etc/systemd/system/timed.service", timedServiceView({})),
    ],
  ])("%s is one for systemd itself (needs systemd-analyze on this machine)", (_name, file, text) => {
    expect(judgeBySystemd({ [file]: text }, file)).toEqual({ status: 0, stderr: "" });
  });

  (systemd ? it : it.skip)("the timer is one for systemd itself, beside its service (needs systemd-analyze)", () => {
    const files = {
      "timed.service": renderTemplate("etc/systemd/system/timed.service", timedServiceView({})),
      "timed.timer": renderTemplate("etc/systemd/system/timed.timer", TIMER_VIEW),
    };
    expect(judgeBySystemd(files, "timed.timer")).toEqual({ status: 0, stderr: "" });
  });

  (systemd ? it : it.skip)("a wrong one would be noticed (needs systemd-analyze)", () => {
    const text = renderTemplate("etc/systemd/system/service", serviceView({})).replace(
      "PrivateTmp=true",
      "PrivateTemp=true",
    );
    expect(judgeBySystemd({ "wrong.service": text }, "wrong.service").stderr).toContain("PrivateTemp");
  });

  function judgeBySystemd(files: Record<string, string>, file: string): { status: number | null; stderr: string } {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", join(folder, file)], {
      encoding: "utf8",
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` },
    });
    // What is wrong with other units of this machine is no business of ours.
    const ours = stderr.split("\n").filter((line) => Object.keys(files).some((name) => line.includes(name)));
    return { status: ours.length === 0 ? 0 : status, stderr: ours.join("\n") };
  }
});

function homeserverView(change: Partial<HomeserverView>): HomeserverView {
  return {
    serverName: "example.com",
    publicBaseUrl: "https://matrix.example.com",
    folder: "/opt/synapse",
    port: 8008,
    database: [
      { name: "user", value: "synapse" },
      { name: "passfile", value: "/opt/synapse/secrets/pgpass" },
      { name: "dbname", value: "synapse" },
      { name: "host", value: "/var/run/postgresql" },
      { name: "port", value: 5432 },
    ],
    signingKeyPath: "/opt/synapse/example.com.signing.key",
    workers: null,
    ...change,
  };
}

function site(change: Partial<Site>): Site {
  return {
    ipv6: true,
    serverName: "example.com",
    domains: ["matrix.example.com", "synapse.example.com"],
    servesApex: true,
    apexProxy: false,
    federationPort: false,
    adminNetworks: [],
    hsts: false,
    upstreamPort: 8008,
    workers: null,
    maxBodySize: "50M",
    certificate: "/etc/pki/matrix-homeserver/selfsigned.crt",
    certificateKey: "/etc/pki/matrix-homeserver/selfsigned.key",
    webroot: null,
    wellKnown: "/etc/nginx/matrix-homeserver/well-known.conf",
    ...change,
  };
}

function workerView(change: object): object {
  return {
    ...{ name: "generic1", port: 8101, resources: "client, federation", folder: "/opt/synapse", servesMedia: false },
    ...change,
  };
}

function timedServiceView(view: object): object {
  return { description: "A program", program: "/bin/true", timeout: "15min", after: [], ...view };
}

function serviceView(change: { writable?: string[]; after?: string[]; partOf?: string; wantedBy?: string }): object {
  return {
    name: "synapse",
    description: "Matrix homeserver of example.com",
    user: "synapse",
    workingDirectory: "/opt/synapse",
    command: "/bin/true --config=/opt/synapse/homeserver.yaml",
    startSeconds: 120,
    writable: ["/opt/synapse/media_store"],
    after: ["postgresql.service"],
    partOf: null,
    wantedBy: "multi-user.target",
    ...change,
  };
}

/** Whether a template looks a name up in its view, and not in a list's item. */
function fileUses(file: string, name: string): boolean {
  return new RegExp(`\\{\\{[#^]?${name}(\\.\\w+)?\\}\\}`).test(
    renderlessTemplate(file).replace(/\{\{#vhosts\}\}[^]*\{\{\/vhosts\}\}/, "{{#vhosts}}{{/vhosts}}"),
  );
}

function renderlessTemplate(file: string): string {
  return readFileSync(join(TEMPLATES, `${file}.mustache`), "utf8");
}

/** YAML as Synapse reads it: version 1.1. */
function readYaml(text: string): unknown {
  return parse(text, { version: "1.1" }) as unknown;
}

/** The same by the very library that Synapse uses, where this machine has it. */
function pyYaml(text: string): unknown {
  const program = "import sys, json, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=repr)";
  const { status, stdout, stderr } = spawnSync("python3", ["-c", program], { input: text, encoding: "utf8" });
  if (status === 0) return JSON.parse(stdout);
  if (/ENOENT|No module named 'yaml'/.test(stderr)) return readYaml(text);
  throw new Error(stderr);
}

interface Directive {
  readonly words: string[];
  /** What is in its braces; empty where it has none. */
  readonly block: Directive[];
}

/** nginx's syntax: words, quoted or not, that end in a semicolon or in a block. Throws where it is not that. */
function readNginx(text: string): Directive[] {
  const token = /\s+|#[^\n]*|([;{}])|'((?:[^'\\]|\\[^])*)'|"((?:[^"\\]|\\[^])*)"|((?:[^\s;{}'"\\]|\$\{\w+\}|\\[^])+)/y;
  const open: Directive[][] = [[]];
  let words: string[] = [];
  while (token.lastIndex < text.length) {
    const from = token.lastIndex;
    const match = token.exec(text);
    if (match === null) throw new Error(`nginx could not read: ${text.slice(from, from + 40)}`);
    const [, sign, single, double, bare] = match;
    const word = single ?? double ?? bare;
    if (word !== undefined) words.push(unescapeNginx(word));
    if (sign === undefined) continue;
    if (sign === "}") {
      if (words.length > 0) throw new Error(`a directive without an end: ${words.join(" ")}`);
      if (open.length === 1) throw new Error("a } too many");
      open.pop();
      continue;
    }
    if (words.length === 0) throw new Error(`a ${sign} without a directive`);
    const directive: Directive = { words, block: [] };
    open.at(-1)?.push(directive);
    if (sign === "{") open.push(directive.block);
    words = [];
  }
  if (open.length > 1 || words.length > 0) throw new Error("the end is missing");
  return open[0] ?? [];
}

/** nginx takes the backslash away before quotes, blanks' letters and itself, and leaves it before all else. */
function unescapeNginx(word: string): string {
  const letters: Record<string, string> = { t: "\t", r: "\r", n: "\n" };
  return word.replace(/\\(["'\\trn])/g, (_match, char: string) => letters[char] ?? char);
}

/** The arguments of every directive of that name, at this level. */
function directive(block: Directive[], name: string): string[][] {
  return block.filter(({ words }) => words[0] === name).map(({ words }) => words.slice(1));
}

/** The same at any depth. */
function all(block: Directive[], name: string): string[][] {
  return [...directive(block, name), ...block.flatMap((inner) => all(inner.block, name))];
}

function blocksOf(config: Directive[], name: string): Directive[] {
  return config.filter(({ words }) => words[0] === name);
}

function blocks(config: Directive[], name: string): Directive[][] {
  return blocksOf(config, name).map(({ block }) => block);
}

function listensOn(server: Directive[]): string[] {
  return directive(server, "listen").map(([address = ""]) => address.replace(/^.*:/, ""));
}

function nginxIsHere(): boolean {
  return spawnSync("nginx", ["-v"]).status === 0;
}

/** With the files that the configuration names, under a folder of this test's. */
function judgeByNginx(text: string, view: Site): { status: number | null; stderr: string } {
  const base = mkdtempSync(join(folder, "nginx-"));
  const here = (path: string) => join(base, basename(path));
  mkdirSync(join(base, "logs"));
  spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=example.com"],
    ...["-keyout", here(view.certificateKey), "-out", here(view.certificate)],
  ]);
  writeFileSync(here(view.wellKnown), renderSnippet("https://matrix.example.com"));
  const local = [view.certificateKey, view.certificate, view.wellKnown].reduce(
    (config, path) => config.replaceAll(path, here(path)),
    text,
  );
  writeFileSync(join(base, "nginx.conf"), `pid ${base}/pid;\nevents {}\nhttp {\n${local}\n}\n`);
  const { status, stderr } = spawnSync("nginx", ["-t", "-p", base, "-c", join(base, "nginx.conf")], {
    encoding: "utf8",
  });
  return { status, stderr };
}

/** Sections, and every value of every key in them. */
function readUnit(text: string): Map<string, Record<string, string[]>> {
  const sections = new Map<string, Record<string, string[]>>();
  let section: Record<string, string[]> | undefined;
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const title = /^\[(\w+)\]$/.exec(line)?.[1];
    if (title !== undefined) {
      sections.set(title, (section = {}));
      continue;
    }
    const [, key, value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key === undefined || section === undefined) throw new Error(`no line of a unit: ${line}`);
    (section[key] ??= []).push(value.trim());
  }
  return sections;
}
