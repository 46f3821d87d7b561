import { z } from "zod";

import { lockedVersions } from "../components/SynapseVenv";
import { certificateTextProblem, keyTextProblem } from "./certificates";
import { addressProblem, type Correction, emailProblem, networkProblem, serverNameProblem } from "./names";
import { publicKeyProblem } from "./openpgp";
import { passwordProblem } from "./passwords";
import { hostKeyProblem, keyFileProblem } from "./sshKeys";

/** What docs/settings.md, Pulumi.yaml and an error message say of a setting besides its type. */
export interface SettingMeta {
  readonly description: string;
  /** A right value, as it stands behind `pulumi config set NAME`. */
  readonly example?: string;
  /** The command that sets it, where that is more than `pulumi config set NAME` and the example. */
  readonly command?: string;
  /** What is taken when nothing is set, where that is no constant. */
  readonly fallback?: string;
  /** It is encrypted in the stack file, and never shown. */
  readonly secret?: boolean;
}

/** What keeps a text from being a time of systemd's calendar; the machine's own systemd has the last word. */
function scheduleProblem(schedule: string): string | undefined {
  const named = /^(minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually)$/;
  if (/^(\S+\s+){4}\S+$/.test(schedule) && !schedule.includes(":"))
    return "must be a time as systemd's OnCalendar has it, not as cron does";
  return named.test(schedule) || (/^[\w*:.,/~ +-]+$/.test(schedule) && /\d/.test(schedule) && /[:-]/.test(schedule))
    ? undefined
    : "must be a time as systemd's OnCalendar has it ('systemd-analyze calendar' explains one)";
}

/** Let's Encrypt's own, for certificates that everybody trusts. */
const LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory";

/** Each process has up to 10 connections to the database, and PostgreSQL has 100. */
export const MOST_WORKERS = 8;

const documented = <T extends z.ZodType>(schema: T, meta: SettingMeta): T => schema.meta({ ...meta });

/** A text that `problem` has nothing to say against. */
const text = (problem: (value: string) => string | Correction | undefined) =>
  z.string().superRefine((value, context) => {
    const found = problem(value);
    if (typeof found === "string") context.addIssue(found);
    else if (found !== undefined)
      context.addIssue({ code: "custom", message: found.message, params: { write: found.write } });
  });
const matching = (pattern: RegExp, message: string) => text((value) => (pattern.test(value) ? undefined : message));
const port = z.int("must be a whole number").min(1, "must be from 1 to 65535").max(65535, "must be from 1 to 65535");
const databaseName = matching(
  /^(?!postgres$|template[01]$)[a-z_][a-z0-9_]{0,62}$/,
  "must be a name of PostgreSQL's, lower-case letters, digits and underscores, and not one of its own databases",
);

const host = z.strictObject({
  address: documented(text(addressProblem), {
    description: "Host name or IP address of the machine.",
    example: "203.0.113.10",
  }),
  port: documented(port.default(22), { description: "SSH port.", example: "2222" }),
  user: documented(matching(/^[a-z_][a-z0-9_-]{0,31}$/, "must be the name of an account").default("root"), {
    description: "SSH user: root, or one with passwordless sudo.",
    example: "cloud-user",
  }),
  hostKey: documented(text(hostKeyProblem), {
    description: "The machine's public SSH host key; no other machine is trusted in its place.",
    command: `pulumi config set --path host.hostKey "$(ssh-keyscan -t ed25519 ADDRESS 2>/dev/null | cut -d' ' -f2-)"`,
  }),
  vaultUrl: documented(z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).optional(), {
    description: "Server with what the mirrors of CentOS gave up, laid out as CentOS's own.",
    example: "https://mirror.example.com/centos-vault",
    fallback: "https://vault.centos.org",
  }),
  postgresqlVersion: documented(
    z.int("must be a whole number").min(10, "must be at least 10").max(99, "must be at most 99").optional(),
    {
      description:
        "Major version of PostgreSQL on the machine: a stream of its dnf module postgresql. Data of another version are never touched: make postgresql-upgrade brings them to a newer one, and sets this.",
      example: "16",
      fallback: "the one that has data there; else the newest of the machine's repositories that Synapse runs with",
    },
  ),
  privateKeyFile: documented(text(keyFileProblem).optional(), {
    description: "File with the private SSH key, its path from the project's folder; without a passphrase.",
    example: "/home/me/.ssh/id_ed25519",
    fallback: "the keys of the running ssh-agent",
  }),
});

const admin = z.strictObject({
  localpart: documented(
    text((name) => {
      if (!/^[a-z0-9._=/+-]{1,200}$/.test(name)) return "must be lower-case letters, digits and ._=/+- only";
      if (name.startsWith("_")) return "must not begin with an underscore, which Synapse keeps for bridges";
      return /^\d+$/.test(name) ? "must not be a number, which Synapse keeps for guests" : undefined;
    }).default("admin"),
    { description: "Local name of the administrator: admin in @admin:example.com.", example: "alice" },
  ),
  password: documented(text((password) => passwordProblem(password, 12)).optional(), {
    description: "The administrator's password, at least 12 characters. Changing it here sets it again.",
    command: "openssl rand -hex 12 | pulumi config set --path --secret admin.password",
    fallback: "32 random letters and digits: `pulumi stack output adminPassword --show-secrets`",
    secret: true,
  }),
});

const synapse = z.strictObject({
  version: documented(
    text((version) =>
      lockedVersions().includes(version)
        ? undefined
        : `must be a release that requirements/ has a lock for (${lockedVersions().join(", ")}); make one with: make lock VERSION=X.Y.Z`,
    ).default(lockedVersions().at(-1) ?? ""),
    { description: "Release of Synapse.", example: lockedVersions().at(-1) ?? "" },
  ),
  indexUrl: documented(z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).optional(), {
    description: "Package index (PEP 503) for a machine that does not reach the public one; a mirror will do.",
    example: "https://pypi.example.com/simple/",
    fallback: "the public one",
  }),
  buildFromSource: documented(z.boolean().default(false), {
    description: "Compile psycopg2 and Pillow on the machine instead of taking their authors' wheels.",
    example: "true",
  }),
  logLevel: documented(z.enum(["DEBUG", "INFO", "WARNING", "ERROR"]).default("WARNING"), {
    description: "How much Synapse writes to the journal. DEBUG and INFO name users and rooms.",
    example: "INFO",
  }),
  newSettings: documented(z.array(z.string()).default([]), {
    description:
      "Names in homeserver that Synapse has and this program does not know yet; one inside another with dots, `email.new_name`. They are passed on unchecked.",
    command: "pulumi config set --path 'synapse.newSettings[0]' brand_new_setting",
  }),
});

const tls = z.strictObject({
  mode: documented(z.enum(["selfsigned", "provided", "acme"]).default("selfsigned"), {
    description:
      "selfsigned: an authority of the machine's own, which clients have to be given; no other server trusts it. provided: your certificate. acme: one from Let's Encrypt or another ACME server, renewed by the machine itself.",
    example: "acme",
  }),
  certificate: documented(text(certificateTextProblem).optional(), {
    description:
      "With mode provided: your certificate with its chain (PEM), the server's own first. It has to be good for every name that nginx serves; in its last 21 days every preview warns.",
    command: "pulumi config set --path tls.certificate < fullchain.pem",
    fallback: "none: needed with mode provided",
  }),
  key: documented(text(keyTextProblem).optional(), {
    description: "With mode provided: the certificate's private key (PEM), without a passphrase.",
    command: "pulumi config set --path --secret tls.key < privkey.pem",
    fallback: "none: needed with mode provided",
    secret: true,
  }),
  acmeEmail: documented(text(emailProblem).optional(), {
    description: "With mode acme: the address that the authority writes to when something is wrong.",
    example: "hostmaster@your-domain.org",
    fallback: "none: needed with mode acme",
  }),
  acmeDirectory: documented(
    z.url({ protocol: /^https$/, error: "must be an https URL, that of an ACME directory" }).default(LETS_ENCRYPT),
    {
      description: "With mode acme: the ACME server's directory.",
      example: "https://acme-staging-v02.api.letsencrypt.org/directory",
    },
  ),
  ca: documented(text(certificateTextProblem).optional(), {
    description:
      "The authority (PEM) behind your certificate, where the world does not know it: with mode provided the one that signed it; with mode acme that of a private ACME server, which has signed the server's own certificate, too. Clients have to be given it.",
    command: "pulumi config set --path tls.ca < ca.pem",
    fallback: "the authorities that the machine trusts",
  }),
});

const nginx = z.strictObject({
  apexProxy: documented(z.boolean().default(false), {
    description: "Serve the Matrix API under serverName as well, for clients without discovery. Needs apexSite serve.",
    example: "true",
  }),
  apexSite: documented(z.enum(["serve", "snippet", "external"]).default("serve"), {
    description:
      "Who answers for serverName, where discovery looks. serve: this nginx. snippet: a site that this nginx has already, which has to include /etc/nginx/matrix-homeserver/well-known.conf. external: another machine; the documents that it has to serve are outputs of the stack, and are checked over HTTPS.",
    example: "external",
  }),
  hsts: documented(z.boolean().default(false), {
    description:
      "Tell browsers to use nothing but HTTPS with these names (Strict-Transport-Security). They keep to it for its whole time, also when the certificate fails or the name gets another use: turn it on when HTTPS has proved itself.",
    example: "true",
  }),
  adminNetworks: documented(z.array(text(networkProblem)).default([]), {
    description:
      "IP addresses and networks (CIDR) that may reach /_synapse/admin from outside; to all others it does not exist.",
    command: "pulumi config set --path 'nginx.adminNetworks[0]' 198.51.100.0/24",
  }),
  federationPort: documented(z.boolean().default(false), {
    description: "Listen on port 8448 as well, for servers that do not find the delegation to port 443.",
    example: "true",
  }),
});

const database = z.strictObject({
  host: documented(text(addressProblem), {
    description: "Host name or IP address of the PostgreSQL server.",
    example: "db.example.com",
  }),
  port: documented(port.default(5432), { description: "Its port.", example: "6432" }),
  name: documented(databaseName.default("synapse"), {
    description: "The database: made with UTF8, LC_COLLATE=C and LC_CTYPE=C, and the user's own.",
    example: "synapse",
  }),
  user: documented(
    matching(/^[a-z_][a-z0-9_]{0,62}$/, "must be lower-case letters, digits and underscores").default("synapse"),
    {
      description: "The role that logs in with dbPassword.",
      example: "synapse",
    },
  ),
  tlsMode: documented(z.enum(["require", "verify-ca", "verify-full"]).default("verify-full"), {
    description:
      "How far the connection is checked (libpq's sslmode). require: encrypted, to whoever answers. verify-ca: by a server with a trusted certificate. verify-full: and of the right name.",
    example: "verify-ca",
  }),
  ca: documented(text(certificateTextProblem).optional(), {
    description: "The authority (PEM) that signed the server's certificate.",
    command: "pulumi config set --path database.ca < ca.pem",
    fallback: "the authorities that the machine trusts",
  }),
});

const keep = z.int("must be a whole number").max(10000, "must be at most 10000");
/** What s3cmd reads as it stands, and no shell or file of settings takes for something else. */
const credential = matching(/^[A-Za-z0-9+/=._~-]+$/, "must be letters, digits and +/=._~- only");

const s3 = z.strictObject({
  endpoint: documented(
    matching(
      /^https:\/\/[A-Za-z0-9.-]+(:\d{1,5})?$/,
      "must be the https URL of the store alone, without a path and without the bucket",
    ),
    {
      description: "The S3-compatible store that every backup is copied to.",
      example: "https://s3.eu-central-1.amazonaws.com",
    },
  ),
  bucket: documented(
    matching(
      /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
      "must be the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens",
    ),
    { description: "A bucket of yours there. It has to exist.", example: "example-com-backups" },
  ),
  prefix: documented(
    matching(
      /^[\w.-]+(\/[\w.-]+)*$/,
      "must be letters, digits and ._- only, with a slash between parts and none at the ends",
    ).optional(),
    {
      description: "What the names of the backups there begin with, a folder so to speak.",
      example: "matrix",
      fallback: "nothing",
    },
  ),
  region: documented(matching(/^[a-z0-9-]+$/, "must be lower-case letters, digits and hyphens").default("us-east-1"), {
    description: "The store's region. Stores without regions take the default.",
    example: "eu-central-1",
  }),
  accessKeyId: documented(credential, {
    description: "Who the machine is to the store.",
    example: "AKIAIOSFODNN7EXAMPLE",
  }),
  secretAccessKey: documented(credential, {
    description:
      "The key that belongs to accessKeyId. It may read, write and list what begins with the prefix, and delete it unless keep is 0.",
    command: "pulumi config set --path --secret backup.s3.secretAccessKey < secret-key.txt",
    secret: true,
  }),
  keep: documented(keep.min(0, "must be at least 0").optional(), {
    description:
      "How many backups are kept there. 0: nothing is ever removed by the machine; then the store's own rules have to.",
    example: "60",
    fallback: "as many as on the machine, `backup.keep`",
  }),
  ca: documented(text(certificateTextProblem).optional(), {
    description: "The authority (PEM) of the store's certificate, where the world does not know it.",
    command: "pulumi config set --path backup.s3.ca < ca.pem",
    fallback: "the authorities that the machine trusts",
  }),
});

const unitName = matching(/^[\w@.:-]+$/, "must be the name of a systemd unit, without .service");
const hostPath = matching(
  /^(?!.*\/\.{0,2}(\/|$))\/[\w@+:,. /-]+$/,
  "must be an absolute path of letters, digits, blanks and @+:,.-_ only",
);
const adopt = z.strictObject({
  unit: documented(unitName, { description: "Its systemd unit, without .service.", example: "matrix-synapse" }),
  environment: documented(hostPath, {
    description: "The folder of its Python virtual environment.",
    example: "/opt/synapse/env",
  }),
  signingKey: documented(hostPath, {
    description: "The file of its signing key.",
    example: "/opt/synapse/example.com.signing.key",
  }),
  mediaStore: documented(hostPath, { description: "The folder of its media.", example: "/opt/synapse/media_store" }),
  sqlite: documented(hostPath.optional(), {
    description: "Its database, where that is a file of SQLite: it is copied into PostgreSQL, and kept.",
    example: "/opt/synapse/homeserver.db",
    fallback: "its database is PostgreSQL's",
  }),
  nginxFiles: documented(z.array(hostPath).default([]), {
    description: "The files with its sites in nginx, which the program's own replace.",
    command: "pulumi config set --path 'adopt.nginxFiles[0]' /etc/nginx/conf.d/matrix.conf",
  }),
});

const backup = z.strictObject({
  recipient: documented(text(publicKeyProblem), {
    description:
      "OpenPGP public key (ASCII-armoured) of whoever may read the backups. The private key stays with you: without it no backup can be read, on the machine or elsewhere.",
    command: "gpg --armor --export backup@example.com | pulumi config set --path backup.recipient",
  }),
  directory: documented(
    matching(
      /^(?!.*\/\.{0,2}(\/|$))\/[\w@+:,./-]+$/,
      "must be the absolute path of a folder, of letters, digits and @+:,.-_ only",
    ).default("/var/backups/matrix-homeserver"),
    {
      description: "Folder on the machine that the backups are kept in; another disk may be mounted there.",
      example: "/mnt/backup/matrix",
    },
  ),
  schedule: documented(text(scheduleProblem).default("*-*-* 03:30:00"), {
    description: "When a backup is made, as systemd's OnCalendar has it, in the machine's time zone.",
    example: "Mon,Thu *-*-* 02:00:00",
  }),
  keep: documented(keep.min(1, "must be at least 1").default(14), {
    description: "How many backups are kept. The oldest goes when a new one is whole.",
    example: "30",
  }),
  warnAfterHours: documented(
    z.int("must be a whole number").min(0, "must be at least 0").max(8784, "must be at most 8784, a year").default(50),
    {
      description:
        "Every preview and update asks the machine, by one login, how its last backup went, and warns when it failed or when the last good one is older than this, in hours. 0: nothing is asked.",
      example: "200",
    },
  ),
  s3: documented(s3.optional(), {
    description: "A store that every backup is copied to.",
    fallback: "they stay on the machine",
  }),
});

/** What makes one of Synapse's own secrets anew. */
const rotation = (description: string) =>
  documented(matching(/^\S(.*\S)?$/, "must be a text of one line, such as a date").optional(), {
    description,
    example: "2026-11-25",
    fallback: "it stays as it was made",
  });

const rotate = z.strictObject({
  registrationSecret: rotation(
    "registration_shared_secret, which registers accounts on the machine. Who had the old one cannot register with it any more; nobody else notices.",
  ),
  macaroonSecret: rotation(
    "macaroon_secret_key. People stay logged in. Guests are logged out, logins under way at a single sign-on provider start again, and links to end e-mail notifications in mails that were sent go dead.",
  ),
  formSecret: rotation(
    "form_secret. Links to the terms of use (consent) that were sent go dead; Synapse sends new ones.",
  ),
  workerSecrets: rotation(
    "What Synapse's processes prove themselves to each other and to Redis with, where there are workers. Nobody notices.",
  ),
});

const upTo = (most: number) =>
  z.int("must be a whole number").min(0, "must be at least 0").max(most, `must be at most ${most}`).default(0);

const workers = z.strictObject({
  generic: documented(upTo(MOST_WORKERS), {
    description: "How many answer clients and other servers: sync, rooms, messages, logins, federation.",
    example: "2",
  }),
  federationSender: documented(upTo(MOST_WORKERS), {
    description: "How many send to other servers.",
    example: "1",
  }),
  pusher: documented(upTo(MOST_WORKERS), { description: "How many send push notifications.", example: "1" }),
  media: documented(upTo(1), { description: "1: a worker takes and gives media.", example: "1" }),
  backgroundTasks: documented(upTo(1), { description: "1: a worker does what is due by the clock.", example: "1" }),
});

/** All settings of a stack, by the names that `pulumi config set` takes. */
export const settingsSchema = z.strictObject({
  serverName: documented(text(serverNameProblem), {
    description: "The name in user ids, @user:example.com. It can never change once the server has users.",
    example: "example.com",
  }),
  domains: documented(z.array(text(serverNameProblem)).min(1, "must name at least one domain").optional(), {
    description: "The names that the homeserver itself is reached by; the first is the address that clients use.",
    command: "pulumi config set --path 'domains[0]' matrix.example.com",
    fallback: "matrix. and synapse. in front of serverName",
  }),
  dbPassword: documented(
    text((password) => passwordProblem(password, 8)),
    {
      description: "Password of the database's user, at least 8 characters.",
      command: "openssl rand -hex 24 | pulumi config set --secret dbPassword",
      secret: true,
    },
  ),
  host: documented(host, { description: "The machine, and how to log in to it." }),
  admin: documented(admin.prefault({}), { description: "The administrator's account." }),
  synapse: documented(synapse.prefault({}), { description: "Synapse itself." }),
  workers: documented(workers.prefault({}), {
    description:
      "Worker processes of Synapse beside its main one, on the same machine, and Redis between them. See docs/workers.md.",
  }),
  tls: documented(tls.prefault({}), { description: "Where nginx's certificate comes from." }),
  nginx: documented(nginx.prefault({}), { description: "The reverse proxy, and the site of serverName." }),
  database: documented(database.optional(), {
    description: "A PostgreSQL server elsewhere (14 or newer).",
    fallback: "PostgreSQL on the machine itself",
  }),
  adopt: documented(adopt.optional(), {
    description:
      "A server that was built by hand on the machine, to be taken over; `make adopt` finds it out. See docs/adopt.md.",
    fallback: "nothing is taken over",
  }),
  backup: documented(backup.optional(), {
    description: "Encrypted backups, made by the machine itself. See docs/backup.md.",
    fallback: "no backups",
  }),
  rotate: documented(rotate.prefault({}), {
    description:
      "Synapse's own secrets: one whose text here is another than before, any text, is made anew. Synapse restarts. See docs/rotation.md.",
  }),
  purge: documented(
    z.union([z.boolean(), z.literal("without-backup")], "must be true, false or without-backup").default(false),
    {
      description:
        "What pulumi destroy does with database, media and signing key, once pulumi up was run with it. false: they stay. true: they are removed, after a last backup, which stays; needs backup.recipient. without-backup: they are removed.",
      example: "true",
    },
  ),
  reconcile: documented(
    z
      .record(
        z.string(),
        matching(/^[\w:.+-]{1,40}$/, "must be at most 40 letters, digits and :.+_-, such as the time of the repair"),
      )
      .default({}),
    {
      description:
        "Resources that run again although nothing of theirs changed, each with a word that is new every time. `make reconcile` writes it after somebody changed the machine by hand; a name that the stack does not have has no effect. See docs/drift.md.",
      command: "pulumi config set --path reconcile.nginx-site 2026-11-25T02:30:00Z",
    },
  ),
  homeserver: documented(z.record(z.string(), z.unknown()).default({}), {
    description: "Any other setting of homeserver.yaml, by Synapse's own names; merged over the program's.",
    command: "pulumi config set --path homeserver.max_upload_size 100M",
  }),
});

/** The settings as the schema alone knows them. */
export type ReadSettings = z.output<typeof settingsSchema>;

/** Where a setting is: its name at the top, and the names inside it. */
export type SettingPath = readonly (string | number)[];

/** The schema without "optional" and "with default". */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
    inner = inner.unwrap();
  return inner;
}

/** The settings inside a setting, by name; none for what is no object with known keys. */
export function childrenOf(schema: z.core.$ZodType): ReadonlyMap<string, z.core.$ZodType> {
  const inner = unwrap(schema);
  return new Map(inner instanceof z.ZodObject ? Object.entries(inner.shape) : []);
}

/** What is said of a setting. Every setting has it; see the test. */
export function metaOf(schema: z.core.$ZodType): SettingMeta {
  return (z.globalRegistry.get(schema) as SettingMeta | undefined) ?? { description: "" };
}

/** The setting at a path, or around it where the path goes on into a list or a free-form object. */
export function settingAt(path: SettingPath): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType = settingsSchema;
  for (const key of path) {
    const children = childrenOf(schema);
    if (children.size === 0) return schema;
    const child = children.get(String(key));
    if (child === undefined) return undefined;
    schema = child;
  }
  return schema;
}

/** Every setting that is not itself a group of settings, with its path. */
export function leaves(schema: z.core.$ZodType = settingsSchema, path: string[] = []): [string[], z.core.$ZodType][] {
  const children = [...childrenOf(schema)];
  return children.length === 0 ? [[path, schema]] : children.flatMap(([key, child]) => leaves(child, [...path, key]));
}
