import { X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import {
  type FreeSettings,
  checkHomeserverSettings,
  isHomeserverSetting,
  secretPaths,
} from "../components/homeserverSettings";
import { lockedVersions } from "../components/SynapseVenv";
import { checkCertificate } from "./certificates";
import { readSites, type Site } from "./nginxSites";
import { passwordProblem } from "./passwords";
import { domainsOf, servedNames } from "./rules";

/** What scripts/adopt-read.sh finds on a machine. */
export interface Found {
  /** homeserver.yaml, all of its files together. */
  readonly homeserver: FreeSettings & { readonly server_name: string };
  readonly configFiles: readonly string[];
  /** Of Synapse. */
  readonly version: string;
  /** The prefix of its Python, and whether that is a virtual environment. */
  readonly environment: string;
  readonly isVenv: boolean;
  readonly unit: string;
  readonly dropIns: readonly string[];
  /** The account that it runs as. */
  readonly account: string;
  /** The home of the account `synapse`, where there is one. */
  readonly synapseHome: string | null;
  /** How many worker processes run. */
  readonly workers: number;
  readonly database: FoundDatabase & {
    readonly users: number;
    /** A local name for an administrator that nobody has. */
    readonly freeAdmin: string | null;
  };
  /** `id` is what other servers call the key, null when there is no such file. */
  readonly signingKey: { readonly path: string; readonly id: string | null };
  /** `movable`: whether it is on the file system of /opt. */
  readonly mediaStore: { readonly path: string; readonly movable: boolean };
  /** What `nginx -T` prints; empty where there is no nginx. */
  readonly nginx: string;
  /** The certificates and keys that nginx names, by their paths there. */
  readonly pem: Readonly<Record<string, string>>;
}

type FoundDatabase =
  | { readonly kind: "sqlite"; readonly path: string; readonly bytes: number }
  | {
      readonly kind: "postgresql";
      readonly host: string;
      readonly port: number;
      readonly name: string;
      readonly user: string;
      readonly password: string | null;
      readonly sslMode: string | null;
      /** Encoding, collation, ctype, owner, role. */
      readonly shape: string;
      /** Whether EL8's own PostgreSQL has its data on this machine. */
      readonly hasCluster: boolean;
    };

/** Settings for a stack that takes a server over, and what a person should know of them. */
export interface Plan {
  /** As the stack file has them, but for what is secret. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Settings that are to be encrypted, by their paths as `pulumi config set --path` takes them. */
  readonly secrets: Readonly<Record<string, string>>;
  /** For a person, a line each. */
  readonly found: readonly string[];
  readonly kept: readonly string[];
  readonly changes: readonly string[];
  readonly left: readonly string[];
}

/** What the operator has to say in addition. */
export interface Wishes {
  /** Whom an ACME server is to write to. */
  readonly acmeEmail?: string;
  readonly now: Date;
}

const HOME = "/opt/synapse";
const PORT = 8008;
/** What the program's homeserver.yaml says anyway. */
const SAME: FreeSettings = {
  report_stats: false,
  max_upload_size: "50M",
  trusted_key_servers: [{ server_name: "matrix.org" }],
  suppress_key_server_warning: true,
};
const WITH_MODULES = [
  "modules",
  "password_providers",
  "media_storage_providers",
  "spam_checker",
  "third_party_event_rules",
];

/** How a stack takes this server over, or all that is in the way of it, a sentence each. Pure but for requirements/. */
export function planAdoption(found: Found, wishes: Wishes): Plan | { readonly problems: readonly string[] } {
  const { homeserver: config, database, mediaStore, signingKey } = found;
  const serverName = config.server_name;
  const web = planWeb(found, wishes);
  const stored = planDatabase(database);
  const free = planHomeserver(config);
  const problems = [...refusals(found), ...stored.problems, ...free.problems, ...web.problems];
  if (problems.length > 0) return { problems };

  const copied = database.kind === "sqlite";
  return {
    settings: {
      serverName,
      ...(database.freeAdmin !== "admin" && { admin: { localpart: database.freeAdmin } }),
      ...web.settings,
      ...stored.settings,
      ...(Object.keys(free.settings).length > 0 && { homeserver: free.settings }),
      adopt: {
        unit: found.unit,
        environment: found.environment,
        signingKey: signingKey.path,
        mediaStore: mediaStore.path,
        ...(copied && { sqlite: database.path }),
        ...(web.files.length > 0 && { nginxFiles: web.files }),
      },
    },
    secrets: { ...stored.secrets, ...free.secrets, ...web.secrets },
    found: [
      `${serverName}, Synapse ${found.version} in ${found.environment}, run by ${found.unit}.service as ${found.account}`,
      `configuration ${found.configFiles.join(", ")}`,
      copied
        ? `SQLite database ${database.path}, ${Math.ceil(database.bytes / 1e6)} MB, ${database.users} users`
        : `PostgreSQL database ${database.name} of the role ${database.user}, ${database.users} users`,
      `signing key ${signingKey.id ?? ""} in ${signingKey.path}, media in ${mediaStore.path}`,
      ...web.found,
    ],
    kept: [
      "users, their passwords and sessions, rooms, messages, media, the signing key",
      ...(Object.keys(free.settings).length > 0 ? [`homeserver.yaml's ${Object.keys(free.settings).join(", ")}`] : []),
      ...(Object.keys(free.secrets).length > 0 ? [`encrypted: ${Object.keys(free.secrets).join(", ")}`] : []),
      ...web.kept,
    ],
    changes: [
      `Synapse ${lockedVersions().at(-1) ?? ""} takes the place of ${found.version}`,
      ...(copied
        ? [`the database is copied into PostgreSQL while nobody is served; ${database.path} stays as it is`]
        : []),
      `the unit is synapse.service and runs as the account synapse${found.unit === "synapse" ? "" : `; ${found.unit}.service goes`}`,
      "registration, macaroon and form secrets are new ones: people stay logged in, but a link in an e-mail from before, or a login or registration that is under way, has to be begun again",
      `a new administrator @${database.freeAdmin ?? ""}:${serverName} is made; nobody else's password changes`,
      "Synapse logs to the journal (journalctl -u synapse)",
      ...free.changes,
      ...web.changes,
    ],
    left: [...free.left, ...web.left],
  };
}

function refusals(found: Found): string[] {
  const { homeserver: config, account, mediaStore, signingKey, synapseHome } = found;
  const newest = lockedVersions().at(-1) ?? "";
  const redis = config.redis as { enabled?: boolean } | null | undefined;
  const hasWorkers =
    found.workers > 0 ||
    redis?.enabled === true ||
    Object.keys((config.instance_map as object | null) ?? {}).length > 0;
  const main = clientListener(config);
  const refuse = (when: boolean, sentence: string) => (when ? [sentence] : []);
  return [
    ...refuse(
      hasWorkers,
      "workers are in use: make it one process again (no workers, redis or instance_map in homeserver.yaml), then take it over",
    ),
    ...refuse(
      !found.isVenv,
      `Synapse is not in a virtual environment but in ${found.environment}: install it in one and restart it, so that it can be put back`,
    ),
    ...refuse(
      found.version.localeCompare(newest, "en", { numeric: true }) > 0,
      `it runs Synapse ${found.version}, newer than what requirements/ has a lock for (${newest}): run make lock VERSION=${found.version} first`,
    ),
    ...refuse(
      account !== "root" && account !== "synapse",
      `it runs as the account ${account}, and this program's is synapse: make that account, give it the files, and let ${found.unit}.service run as it first`,
    ),
    ...refuse(
      synapseHome !== null && synapseHome !== HOME,
      `the account synapse has the home ${synapseHome ?? ""}: stop the server, run usermod --home ${HOME} synapse, and start it again`,
    ),
    ...refuse(
      found.dropIns.length > 0,
      `the unit has drop-ins (${found.dropIns.join(", ")}), which would apply to the new one or be lost: put what they say into the unit's own file`,
    ),
    ...refuse(
      main?.port !== PORT,
      `it does not listen for clients on port ${PORT}: change that in homeserver.yaml's listeners and in nginx, and restart both`,
    ),
    ...refuse(
      signingKey.id === null,
      `there is no signing key in ${signingKey.path}: set signing_key_path in homeserver.yaml to where it is`,
    ),
    ...refuse(
      !mediaStore.movable,
      `the media in ${mediaStore.path} are on another file system than /opt: mount that one at ${HOME}/media_store first, and set media_store_path`,
    ),
  ];
}

interface Listener {
  readonly port?: number;
  readonly type?: string;
  readonly resources?: readonly { readonly names?: readonly string[] | string }[];
}

const listenersOf = (config: FreeSettings) => (config.listeners as Listener[] | null | undefined) ?? [];
const clientListener = (config: FreeSettings) =>
  listenersOf(config).find(({ resources = [] }) => resources.some(({ names = [] }) => names.includes("client")));

interface Part {
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, string>;
  readonly problems: string[];
}

function planDatabase(database: FoundDatabase): Part {
  if (database.kind === "sqlite") return { settings: {}, secrets: {}, problems: [] };
  const { host, port, name, user, password } = database;
  const problems: string[] = [];
  const isLocal = host === "" || host.startsWith("/") || ["localhost", "127.0.0.1", "::1"].includes(host);
  const settings = isLocal
    ? {}
    : {
        database: {
          host,
          ...(port !== 5432 && { port }),
          ...(name !== "synapse" && { name }),
          ...(user !== "synapse" && { user }),
          tlsMode: ["verify-ca", "verify-full"].includes(database.sslMode ?? "") ? database.sslMode : "require",
        },
      };
  if (isLocal && (name !== "synapse" || user !== "synapse"))
    problems.push(
      `its database is ${name} of the role ${user}, and this program's is synapse of the role synapse: with the server stopped, rename both (ALTER DATABASE … RENAME TO synapse, ALTER ROLE … RENAME TO synapse, and its password anew) and name them in homeserver.yaml`,
    );
  else if (isLocal && database.shape !== "UTF8 C C synapse synapse")
    problems.push(
      `its database has encoding, collation, ctype and owner '${database.shape.replace(/ \S+$/, "")}', and this program needs 'UTF8 C C synapse': ALTER DATABASE synapse OWNER TO synapse, or dump it, make it anew and restore it`,
    );
  if (isLocal && (!database.hasCluster || port !== 5432))
    problems.push(
      `its PostgreSQL is not the system's own (data in /var/lib/pgsql/data, port 5432), which this program keeps: move the database there first`,
    );
  if (password === null) {
    if (host !== "" && !host.startsWith("/"))
      problems.push(
        `homeserver.yaml has no password of the database's role ${user}: put it there, for it goes on being used`,
      );
    return { settings, secrets: {}, problems };
  }
  const weak = passwordProblem(password, 8);
  if (weak !== undefined)
    problems.push(
      `the password of the database's role ${user} ${weak}: change it (ALTER ROLE) and put the new one into homeserver.yaml`,
    );
  return { settings, secrets: { dbPassword: password }, problems };
}

function planHomeserver(config: FreeSettings): Part & { readonly changes: string[]; readonly left: string[] } {
  const left: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(JSON.parse(JSON.stringify(config)) as FreeSettings)) {
    if (isDeepStrictEqual(value, SAME[name]) || value === null) continue;
    if (isHomeserverSetting(name)) settings[name] = value;
    // What the program has no place for is no setting of Synapse, or one that it sets itself.
    else if (checkHomeserverSettings({ [name]: value }).some(({ message }) => message.startsWith("is no setting")))
      left.push(`homeserver.yaml's ${name}, which is no setting of Synapse`);
  }
  for (const { path, message } of checkHomeserverSettings(settings)) {
    removeAt(settings, path);
    left.push(`homeserver.yaml's ${path.join(".")}: it ${message}`);
  }
  const modules = WITH_MODULES.flatMap((name) => modulesIn(settings[name])).filter(
    (name) => !name.startsWith("synapse."),
  );
  const others = listenersOf(config).filter((listener) => listener !== clientListener(config));
  for (const { port, type = "http" } of others)
    left.push(`the listener of the type ${type} on port ${port ?? "of no number"}`);

  const secrets: Record<string, string> = {};
  for (const path of secretPaths(settings)) {
    secrets[`homeserver${path.map((key) => (/^\d+$/.test(key) ? `[${key}]` : `.${key}`)).join("")}`] = String(
      removeAt(settings, path),
    );
  }
  const files = filesIn(settings);
  return {
    settings,
    secrets,
    problems:
      modules.length > 0
        ? [
            `it loads modules that this program does not install (${modules.join(", ")}): take them out of homeserver.yaml, or keep this server as it is`,
          ]
        : [],
    changes: files.length > 0 ? [`the account synapse reads ${files.join(", ")}: see that it may`] : [],
    left,
  };
}

function modulesIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    key === "module" && typeof inner === "string" ? [inner] : modulesIn(inner),
  );
}

function filesIn(value: unknown): string[] {
  if (typeof value === "string") return /^\/[\w.-]+\//.test(value) ? [value] : [];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(filesIn) : [];
}

/** Takes the value at a path out of an object; an item of a list stays, empty, so that the others keep their places. */
function removeAt(tree: Record<string, unknown>, path: readonly string[]): unknown {
  const [key = "", ...rest] = path;
  const value = tree[key];
  if (rest.length > 0) return removeAt(value as Record<string, unknown>, rest);
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the object is a copy, and the key is in it
  delete tree[key];
  return value;
}

interface Web extends Part {
  /** The files of nginx's that the program's own replace. */
  readonly files: string[];
  readonly found: string[];
  readonly kept: string[];
  readonly changes: string[];
  readonly left: string[];
}

function planWeb(found: Found, wishes: Wishes): Web {
  const serverName = found.homeserver.server_name;
  const problems: string[] = [];
  const kept: string[] = [];
  const changes: string[] = [];
  const left: string[] = [];
  const sites = readSites(found.nginx);
  const proxies = sites.filter(({ upstreamPorts }) => upstreamPorts.includes(PORT));
  const names = [...new Set(proxies.flatMap((site) => site.names))];
  for (const { file, names: own } of proxies)
    if (own.length === 0 || own.some((name) => !/^[a-z0-9.-]+\.[a-z0-9-]+$/.test(name)))
      problems.push(
        `a site of nginx's in ${file} that hands requests to Synapse has no server_name, or one that is a pattern: name the domains`,
      );

  const base = baseHost(found, names);
  const domains = [base, ...names.filter((name) => name !== base && name !== serverName)] as const;
  const apex = sites.filter((site) => site.names.includes(serverName) && base !== serverName);
  const apexSite =
    base === serverName || apex.some((site) => !site.other) ? "serve" : apex.length > 0 ? "snippet" : "external";
  const apexStays = apex.filter((site) => site.other);
  if (apexStays.length > 0 && apexSite === "serve" && apexStays.some(({ ports }) => ports.some((port) => port !== 80)))
    problems.push(`nginx has more than one site of ${serverName}: leave one`);
  const isOurs = (site: Site) =>
    proxies.includes(site) ||
    (site.names.length > 0 &&
      site.names.every((name) => [...domains, ...(apexSite === "serve" ? [serverName] : [])].includes(name)));
  const ours = sites.filter((site) => isOurs(site) && !(apexSite === "snippet" && apexStays.includes(site)));
  const files = [...new Set(ours.map(({ file }) => file))];
  for (const file of files) {
    const foreign = sites.filter((site) => site.file === file && !ours.includes(site));
    if (foreign.length > 0 || file === "/etc/nginx/nginx.conf")
      problems.push(
        `${file} has, beside the homeserver's sites, ${foreign.length > 0 ? `that of ${foreign.flatMap((site) => site.names).join(", ") || "no name"}` : "what else nginx needs"}: put the homeserver's into a file of their own in /etc/nginx/conf.d first`,
      );
  }
  if (sites.length === 0)
    left.push(
      "what is in front of Synapse, for it is not nginx: nginx needs ports 80 and 443, so stop the other first",
    );
  if (apexSite === "snippet") {
    kept.push(
      `the site of ${serverName} in ${apexStays.map(({ file }) => file).join(", ")}, which goes on answering discovery`,
    );
    if (apexStays.some((site) => proxies.includes(site)))
      problems.push(
        `the site of ${serverName} serves other things and hands requests to Synapse as well: take the latter out of it, discovery is enough`,
      );
  }
  if (apexSite === "external")
    left.push(
      `discovery on ${serverName}, which this machine does not answer: see the outputs wellKnownClient and wellKnownServer`,
    );
  if (files.length > 0)
    changes.push(
      `nginx serves ${[...domains, ...(apexSite === "serve" && base !== serverName ? [serverName] : [])].join(", ")} by a file of the program's; ${files.join(", ")} go to /var/lib/matrix-homeserver/before-adoption/nginx`,
    );

  const nginx = {
    ...(apexSite !== "serve" && { apexSite }),
    ...(apexSite === "serve" && base !== serverName && names.includes(serverName) && { apexProxy: true }),
    ...(ours.some(({ ports }) => ports.includes(8448)) && { federationPort: true }),
  };
  const usual = domainsOf({ serverName });
  const tls = planCertificate(found, wishes, ours, base, servedNames(serverName, domains, apexSite));
  return {
    settings: {
      ...(!isDeepStrictEqual(domains, usual) && { domains }),
      ...(Object.keys(tls.settings).length > 0 && { tls: tls.settings }),
      ...(Object.keys(nginx).length > 0 && { nginx }),
    },
    secrets: tls.secrets,
    problems: [...problems, ...tls.problems],
    files,
    found: [`address https://${base}${names.length > 0 ? `, nginx serves ${names.join(", ")}` : ""}`],
    kept: [...kept, ...tls.kept],
    changes: [...changes, ...tls.changes],
    left,
  };
}

/** The name that clients use. */
function baseHost({ homeserver: config, nginx }: Found, names: readonly string[]): string {
  const url =
    typeof config.public_baseurl === "string"
      ? config.public_baseurl
      : (/"base_url"\s*:\s*"(https:[^"]+)"/.exec(nginx.replaceAll("\\", ""))?.[1] ?? "");
  const host = URL.canParse(url) ? new URL(url).hostname : "";
  const usual = `matrix.${config.server_name}`;
  return host !== "" ? host : names.includes(usual) ? usual : (names[0] ?? usual);
}

function planCertificate(
  { pem }: Found,
  { acmeEmail, now }: Wishes,
  sites: readonly Site[],
  base: string,
  served: readonly string[],
): Part & { readonly kept: string[]; readonly changes: string[] } {
  const own = sites.find((site) => site.certificate !== undefined && site.names.includes(base));
  const certificate = pem[own?.certificate ?? ""]?.trim();
  const key = pem[own?.key ?? ""]?.trim();
  const nothing = { settings: {}, secrets: {}, problems: [], kept: [] };
  const path = own?.certificate ?? "";
  const isCertbots = path.startsWith("/etc/letsencrypt/");
  if (isCertbots && acmeEmail !== undefined)
    return {
      ...nothing,
      settings: { mode: "acme", acmeEmail },
      changes: [
        "a new certificate from Let's Encrypt; until it is there, for some seconds, one that nobody trusts. certbot's own renewal may be turned off then",
      ],
    };
  if (certificate === undefined || key === undefined)
    return {
      ...nothing,
      changes: ["the certificate is one of the machine's own (nginx's was not found): see tls in docs/settings.md"],
    };
  const { problems } = checkCertificate(certificate, key, served, now);
  if (problems.length > 0) {
    const why = `the certificate ${path} ${problems.map(({ message }) => message).join(", and ")}`;
    return isCertbots
      ? { ...nothing, problems: [`${why}: say ACME_EMAIL=you@your-domain, and a new one is asked for`], changes: [] }
      : {
          ...nothing,
          changes: [
            `${why}: one of the machine's own authority takes its place, which clients have to be given; or set tls`,
          ],
        };
  }
  const first = new X509Certificate(certificate);
  const isSelfSigned = first.checkIssued(first) && first.verify(first.publicKey);
  return {
    settings: { mode: "provided", certificate, ...(isSelfSigned && { ca: certificate }) },
    secrets: { "tls.key": key },
    problems: [],
    kept: [`the certificate ${path}${isSelfSigned ? ", which signed itself" : ""}`],
    changes: isCertbots
      ? ["certbot does not renew what is served any more: set tls.mode acme and tls.acmeEmail soon"]
      : [],
  };
}

/** The plan in words. Pure. */
export function report(plan: Plan): string {
  const part = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
  return [
    ...part("Found:", plan.found),
    ...part("Kept:", plan.kept),
    ...part("Changes with the first pulumi up:", plan.changes),
    ...part("Not taken over:", plan.left),
  ].join("\n");
}
