import { lockedVersions } from "../../components/SynapseVenv";
import { planDatabase } from "./database";
import type { Found, Wishes } from "./found";
import { planHomeserver } from "./homeserver";
import { refusals } from "./refusals";
import { planWeb } from "./web";

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
