import { checkHomeserverSettings, secretPaths } from "../components/homeserverSettings";
import { checkCertificate } from "./certificates";
import { privateEnding } from "./names";
import { type Tree, valueAt } from "./reading";
import { leaves, metaOf, MOST_WORKERS, type ReadSettings, type SettingPath } from "./schema";
import { dotted, encryptCommand, setCommand, setTo } from "./wording";

type DeepPartial<T> = T extends unknown[] ? T : T extends object ? { readonly [K in keyof T]?: DeepPartial<T[K]> } : T;

/** What the rules look at. */
export interface Circumstances {
  /** What the stack says. */
  readonly given: Tree;
  /** As much of it as is right by itself, with defaults. */
  readonly settings: DeepPartial<ReadSettings>;
  /** Whether what is in the setting of that name is encrypted in the stack file. */
  readonly isSecret: (name: string) => boolean;
  readonly now: Date;
}

/** Whole sentences about settings that do not go together. */
export interface Verdict {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** All that is wrong with settings that are right each by itself, and what soon will be wrong. */
export function checkTogether(circumstances: Circumstances): Verdict {
  const verdicts = [names, secrets, tls, nginx, database, workers, purge, homeserver].map((rule) =>
    rule(circumstances),
  );
  return {
    problems: verdicts.flatMap(({ problems = [] }) => problems),
    warnings: verdicts.flatMap(({ warnings = [] }) => warnings),
  };
}

/** The names that clients use, in the settings' own order. */
export function domainsOf({
  serverName,
  domains,
}: {
  serverName: string;
  domains?: readonly string[];
}): [string, ...string[]] {
  const [first, ...more] = domains ?? [];
  return first === undefined ? [`matrix.${serverName}`, `synapse.${serverName}`] : [first, ...more];
}

/** The names that nginx on the machine answers for: the certificate has to be good for them. */
export function servedNames(serverName: string, domains: readonly string[], apexSite: string): string[] {
  return [...new Set([...domains, ...(apexSite === "serve" ? [serverName] : [])])];
}

type Rule = (circumstances: Circumstances) => Partial<Verdict>;

const names: Rule = ({ settings: { serverName, domains, admin } }) => {
  const problems: string[] = [];
  for (const [index, name] of (domains ?? []).entries()) {
    if (domains?.indexOf(name) !== index)
      problems.push(`domains[${index}] repeats an earlier one: name every domain once`);
  }
  const userId = `@${admin?.localpart ?? ""}:${serverName ?? ""}`;
  if (userId.length > 255)
    problems.push(
      `admin.localpart makes a user id of ${userId.length} characters, and Matrix allows 255: choose a shorter one`,
    );
  return { problems };
};

const secrets: Rule = ({ given, settings, isSecret }) => {
  const plain = leaves()
    .filter(([path, schema]) => metaOf(schema).secret === true && !isEmptyAt(given, path) && !isSecret(path[0] ?? ""))
    .map(([path]) => `${dotted(path)} is in the stack file as plain text: encrypt it with: ${setCommand(path)}`);
  const free = isSecret("homeserver") ? [] : secretPaths(settings.homeserver, ["homeserver"]);
  return {
    problems: plain,
    warnings: free.map(
      (path) =>
        `${dotted(path)} looks like a secret and is in the stack file as plain text: encrypt it with: ${encryptCommand(path)}`,
    ),
  };
};

/** The modes that have an effect on each of the settings in tls, and those that need it. */
const TLS_MODES = {
  certificate: { modes: ["provided"], needed: true },
  key: { modes: ["provided"], needed: true },
  acmeEmail: { modes: ["acme"], needed: true },
  acmeDirectory: { modes: ["acme"], needed: false },
  ca: { modes: ["provided", "acme"], needed: false },
} satisfies Record<string, { modes: [string, ...string[]]; needed: boolean }>;

const tls: Rule = ({ given, settings, now }) => {
  const { serverName, tls = {}, domains, nginx } = settings;
  if (tls.mode === undefined) return {};
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const [name, { modes, needed }] of Object.entries(TLS_MODES)) {
    const path = ["tls", name];
    const isGiven = !isEmptyAt(given, path);
    if (isGiven && !modes.includes(tls.mode)) {
      problems.push(
        `tls.${name} has no effect while tls.mode is ${tls.mode}; write: ${setTo(["tls", "mode"], modes[0])}`,
      );
    } else if (!isGiven && needed && modes.includes(tls.mode)) {
      problems.push(`tls.${name} is missing, and tls.mode is ${tls.mode}; for example: ${setCommand(path)}`);
    }
  }
  // Domains that are not right leave the names unknown that a certificate is for.
  if (serverName === undefined || (domains === undefined && !isEmptyAt(given, ["domains"]))) return { problems };
  const served = servedNames(serverName, domainsOf({ serverName, domains }), nginx?.apexSite ?? "serve");
  if (tls.mode === "provided" && tls.certificate !== undefined) {
    const found = checkCertificate(tls.certificate, tls.key, served, now, tls.ca);
    problems.push(
      ...found.problems.map(
        ({ setting, message }) => `tls.${setting} ${message}; for example: ${setCommand(["tls", setting])}`,
      ),
    );
    warnings.push(...found.warnings.map((message) => `tls.certificate ${message}`));
  }
  if (tls.mode === "acme" && (tls.acmeDirectory ?? "").includes("letsencrypt.org")) {
    const unknown = served.filter((name) => privateEnding(name) !== undefined);
    if (unknown.length > 0) {
      problems.push(
        `tls.mode is acme, and Let's Encrypt has no certificates for ${unknown.join(", ")}, which are not in the public DNS; write: ${setTo(["tls", "mode"], "selfsigned")}; or name your own ACME server in tls.acmeDirectory`,
      );
    }
    if (/[@.]example\.(com|net|org)$/i.test(tls.acmeEmail ?? ""))
      problems.push(
        `tls.acmeEmail must be an address of yours: Let's Encrypt refuses those of example.com; for example: ${setCommand(["tls", "acmeEmail"])}`,
      );
  }
  return { problems, warnings };
};

const nginx: Rule = ({ settings: { serverName, domains, nginx = {} } }) => {
  const { apexSite, apexProxy, adminNetworks = [] } = nginx;
  const problems: string[] = [];
  if (apexSite !== undefined && apexSite !== "serve") {
    if (apexProxy === true) {
      problems.push(
        `nginx.apexProxy needs nginx.apexSite serve, and it is ${apexSite}: this nginx does not answer for serverName; write: ${setTo(["nginx", "apexProxy"], "false")}`,
      );
    }
    if (serverName !== undefined && domains?.includes(serverName) === true) {
      problems.push(
        `nginx.apexSite must be serve, because domains has ${serverName}, which this nginx then answers for; write: ${setTo(["nginx", "apexSite"], "serve")}`,
      );
    }
  }
  return {
    problems,
    warnings: adminNetworks.flatMap((network, index) =>
      network.endsWith("/0")
        ? [
            `nginx.adminNetworks[${index}] lets the whole internet reach Synapse's admin API: name the networks that need it`,
          ]
        : [],
    ),
  };
};

const database: Rule = ({ settings: { database } }) =>
  database?.tlsMode === "require" && database.ca !== undefined
    ? {
        problems: [
          `database.ca has no effect while database.tlsMode is require; write: ${setTo(["database", "tlsMode"], "verify-full")}`,
        ],
      }
    : {};

/** What a purge removes as a whole. */
const PURGED = ["/opt/synapse", "/var/lib/matrix-homeserver", "/var/lib/pgsql", "/etc/matrix-homeserver", "/etc/pki"];

const purge: Rule = ({ given, settings: { purge, backup } }) => {
  if (purge === undefined || purge === false) return {};
  const problems: string[] = [];
  if (purge === true && isEmptyAt(given, ["backup", "recipient"])) {
    problems.push(
      `backup.recipient is missing, and purge is true, before which a last backup has to be made; for example: ${setCommand(["backup", "recipient"])}; or give everything up without one with: ${setTo(["purge"], "without-backup")}`,
    );
  }
  const folder = PURGED.find((path) => `${backup?.directory ?? ""}/`.startsWith(`${path}/`));
  if (folder !== undefined)
    problems.push(
      `backup.directory is in ${folder}, which a purge removes; write: ${setTo(["backup", "directory"], "/var/backups/matrix-homeserver")}`,
    );
  return {
    problems,
    warnings: [
      `purge is ${String(purge)}: once pulumi up was run with it, pulumi destroy removes the database, the media and the signing key for good, ${purge === true ? "after a last backup" : "without a last backup"}; to keep them, write: ${setTo(["purge"], "false")}`,
    ],
  };
};

/** The locks have what Redis takes from here on. */
const FIRST_WITH_WORKERS = "1.163.0";

/** Megabytes of memory that a worker takes when it has started. */
const WORKER_MEGABYTES = 130;

const workers: Rule = ({ settings }) => {
  const total = Object.values(settings.workers ?? {}).reduce((sum, count) => sum + count, 0);
  if (total === 0) return {};
  const problems: string[] = [];
  const version = settings.synapse?.version;
  if (version !== undefined && version.localeCompare(FIRST_WITH_WORKERS, "en", { numeric: true }) < 0)
    problems.push(
      `workers need Synapse ${FIRST_WITH_WORKERS} or newer, and synapse.version is ${version}: set a newer release, or take the workers away with: pulumi config rm workers`,
    );
  if (total > MOST_WORKERS)
    problems.push(
      `workers are ${total} in all, and must be at most ${MOST_WORKERS}: each has up to 10 of PostgreSQL's 100 connections; write for example: ${setTo(["workers", "generic"], "2")}`,
    );
  const free = Object.keys(settings.homeserver ?? {}).filter((name) => WORKERS_OWN.has(name));
  problems.push(...free.map((name) => `homeserver.${name} is set by the program where there are workers: set workers`));
  return {
    problems,
    warnings:
      problems.length === 0 && total >= 4
        ? [
            `workers are ${total} processes, which take some ${total * WORKER_MEGABYTES} MB of memory when they start, besides Synapse's own, and more in use: the machine has to have it`,
          ]
        : [],
  };
};

/** Settings of homeserver.yaml that say what is done by which process. */
const WORKERS_OWN = new Set([
  ...["instance_map", "stream_writers", "redis", "worker_replication_secret", "worker_replication_secret_path"],
  ...["federation_sender_instances", "send_federation", "pusher_instances", "start_pushers", "run_background_tasks_on"],
  ...["enable_media_repo", "media_instance_running_background_jobs", "outbound_federation_restricted_to"],
  ...["notify_appservices_from_worker", "update_user_directory_from_worker"],
]);

const homeserver: Rule = ({ settings }) => ({
  problems: checkHomeserverSettings(settings.homeserver ?? {}, settings.synapse?.newSettings).map(
    ({ path, message }) => `${dotted(["homeserver", ...path])} ${message}`,
  ),
});

function isEmptyAt(given: Tree, path: SettingPath): boolean {
  const value = valueAt(given, path);
  return value === undefined || value === null || value === "";
}
