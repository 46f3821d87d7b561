import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { closest } from "fastest-levenshtein";
import { z } from "zod";

import { checkHomeserverSettings, nginxSize } from "./components/homeserverSettings";
import { lockedVersions } from "./components/SynapseVenv";
import type { CertificateSource } from "./components/TlsCertificate";

/** What docs/settings.md and an error message say of a setting besides its type. */
interface SettingMeta {
  description: string;
  /** A right value, as one writes it. */
  example?: string;
  /** What is taken when nothing is set, where that follows from other settings. */
  fallback?: string;
  secret?: boolean;
}

const documented = <T extends z.ZodType>(schema: T, meta: SettingMeta): T => schema.meta({ ...meta });

const DNS_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const DNS_NAME = new RegExp(`^(?=.{1,253}$)(${DNS_LABEL}\\.)+${DNS_LABEL}$`);
const HOST_KEY = /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]{40,}=*( .*)?$/;

const dnsName = z
  .string()
  .refine(
    (name) => DNS_NAME.test(name) && isIP(name) === 0,
    "must be a DNS name in lower case, without scheme, port or path",
  );
const singleLine = (text: string) => !/[\u0000-\u001f\u007f]/.test(text);
const pem = (kind: string) =>
  z
    .string()
    .regex(
      new RegExp(`-----BEGIN [A-Z ]*${kind}-----`),
      `must be in PEM format, with a line "-----BEGIN ${kind}-----"`,
    );

/** All settings of a stack, by the names that `pulumi config set` takes. docs/settings.md and Pulumi.yaml say the same. */
export const settingsSchema = z
  .strictObject({
    serverName: documented(dnsName, {
      description: "The name in user ids, @user:example.com. It can never change once the server has users.",
      example: "example.com",
    }),
    domains: documented(z.array(dnsName).min(1, "must name at least one domain").optional(), {
      description: "The names that the homeserver itself is reached by; the first is the address that clients use.",
      example: "[matrix.example.com, synapse.example.com]",
      fallback: "matrix. and synapse. in front of serverName",
    }),
    dbPassword: documented(
      z
        .string()
        .min(8, "must have at least 8 characters")
        .refine(singleLine, "must be one line without control characters"),
      { description: "Password of the database role synapse.", example: "--secret", secret: true },
    ),
    host: documented(
      z.strictObject({
        address: documented(z.string().regex(/^[A-Za-z0-9.:-]+$/, "must be a host name or an IP address"), {
          description: "Host name or IP address of the machine.",
          example: "203.0.113.10",
        }),
        port: documented(z.int().min(1, "must be from 1 to 65535").max(65535, "must be from 1 to 65535").default(22), {
          description: "SSH port.",
          example: "22",
        }),
        user: documented(
          z
            .string()
            .regex(/^[a-z_][a-z0-9_-]{0,31}$/, "must be the name of an account")
            .default("root"),
          { description: "SSH user: root, or one with passwordless sudo.", example: "cloud-user" },
        ),
        hostKey: documented(
          z.string().regex(HOST_KEY, "must be a public SSH host key, as ssh-keyscan prints it after the address"),
          {
            description:
              "The machine's public SSH host key; no other machine is trusted in its place. Get it with: ssh-keyscan -t ed25519 ADDRESS",
            example: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…",
          },
        ),
        privateKeyFile: documented(
          z
            .string()
            .superRefine((file, context) => {
              const problem = keyFileProblem(file);
              if (problem !== undefined) context.addIssue(problem);
            })
            .optional(),
          {
            description: "File with the private SSH key, relative to the project's folder.",
            example: "/home/me/.ssh/id_ed25519",
            fallback: "the keys of the running ssh-agent",
          },
        ),
      }),
      { description: "The machine and how to log in to it." },
    ),
    admin: documented(
      z
        .strictObject({
          localpart: documented(
            z
              .string()
              .regex(/^[a-z0-9._=/+-]{1,200}$/, "must be lower-case letters, digits and ._=/+- only")
              .default("admin"),
            { description: "Local name of the administrator: admin in @admin:example.com.", example: "alice" },
          ),
          password: documented(
            z
              .string()
              .min(12, "must have at least 12 characters")
              .refine(singleLine, "must be one line without control characters")
              .optional(),
            {
              description: "The administrator's first password. Changing it here sets it again.",
              example: "--secret",
              fallback: "32 random letters and digits: pulumi stack output adminPassword --show-secrets",
              secret: true,
            },
          ),
        })
        .prefault({}),
      { description: "The administrator's account." },
    ),
    synapse: documented(
      z
        .strictObject({
          version: documented(
            z
              .string()
              .refine((version) => lockedVersions().includes(version), {
                error: () =>
                  `must be a release that requirements/ has a lock for (${lockedVersions().join(", ")}); make one with 'make lock VERSION=…'`,
              })
              .default(lockedVersions().at(-1) ?? ""),
            { description: "Release of Synapse.", example: lockedVersions().at(-1) ?? "" },
          ),
          indexUrl: documented(z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).optional(), {
            description: "Package index for a machine that does not reach the public one (PEP 503; a mirror will do).",
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
            description: "Names in homeserver that Synapse has and this program does not know yet.",
            example: "[brand_new_setting]",
          }),
        })
        .prefault({}),
      { description: "Synapse itself." },
    ),
    tls: documented(
      z
        .strictObject({
          mode: documented(z.enum(["selfsigned", "provided"]).default("selfsigned"), {
            description:
              "selfsigned: an authority of the machine's own, that clients have to be given. provided: your certificate.",
            example: "provided",
          }),
          certificate: documented(pem("CERTIFICATE").optional(), {
            description: "Your certificate with its chain, the server's own first (PEM).",
            example: '"$(cat fullchain.pem)"',
          }),
          key: documented(pem("PRIVATE KEY").optional(), {
            description: "Its private key (PEM).",
            example: "--secret",
            secret: true,
          }),
        })
        .superRefine((tls, context) => {
          for (const name of ["certificate", "key"] as const) {
            if (tls.mode === "provided" && tls[name] === undefined)
              context.addIssue({ code: "custom", path: [name], message: "is missing, and tls.mode is provided" });
            if (tls.mode !== "provided" && tls[name] !== undefined)
              context.addIssue({
                code: "custom",
                path: [name],
                message: `has no effect while tls.mode is ${tls.mode}: set tls.mode to provided`,
              });
          }
        })
        .prefault({}),
      { description: "Where nginx's certificate comes from." },
    ),
    nginx: documented(
      z
        .strictObject({
          apexProxy: documented(z.boolean().default(false), {
            description: "Serve the Matrix API under serverName as well, for clients without discovery.",
            example: "true",
          }),
        })
        .prefault({}),
      { description: "The reverse proxy." },
    ),
    homeserver: documented(z.record(z.string(), z.unknown()).default({}), {
      description: "Any other setting of homeserver.yaml, by Synapse's own names; merged over the program's.",
      example: "{ max_upload_size: 100M }",
    }),
  })
  .superRefine((settings, context) => {
    for (const { path, message } of checkHomeserverSettings(settings.homeserver, settings.synapse.newSettings))
      context.addIssue({ code: "custom", path: ["homeserver", ...path], message });
    const size = settings.homeserver.max_upload_size;
    if (size !== undefined && nginxSize(size) === undefined)
      context.addIssue({
        code: "custom",
        path: ["homeserver", "max_upload_size"],
        message: "must be a number of bytes, or one with K, M or G behind it, for example 100M",
      });
  });

/** What a stack is set to, complete and checked. */
export type Settings = Omit<z.output<typeof settingsSchema>, "domains" | "dbPassword" | "tls"> & {
  /** At least one. */
  readonly domains: [string, ...string[]];
  /** Secret. */
  readonly dbPassword: pulumi.Output<string>;
  readonly tls: CertificateSource;
};

/** The stack's settings. Throws a RunError that names all that is wrong with them. */
export function readSettings(): Settings {
  const project = pulumi.getProject();
  const raw = Object.fromEntries(
    Object.entries(pulumi.runtime.allConfig() as Record<string, string>)
      .filter(([key]) => key.startsWith(`${project}:`))
      .map(([key, value]) => [key.slice(project.length + 1), value]),
  );
  const result = parseSettings(raw);
  if (!("settings" in result)) {
    const { problems } = result;
    throw new pulumi.RunError(
      [
        `${problems.length === 1 ? "a setting" : `${problems.length} settings`} of the stack ${pulumi.getStack()} ${problems.length === 1 ? "is" : "are"} not right:`,
        ...problems.map((problem) => `  ${problem}`),
        "docs/settings.md describes every setting.",
      ].join("\n"),
    );
  }
  return result.settings;
}

/** `raw` has the values as the engine gives them: text for a text, JSON for all else. Pure but for the files that it names. */
export function parseSettings(raw: Readonly<Record<string, string>>): { settings: Settings } | { problems: string[] } {
  const values = Object.fromEntries(Object.entries(raw).map(([name, text]) => [name, decode(name, text)]));
  const parsed = settingsSchema.safeParse(values);
  if (!parsed.success) return { problems: parsed.error.issues.flatMap((issue) => describe(issue, values)) };
  const { serverName, domains, dbPassword, tls } = parsed.data;
  return {
    settings: {
      ...parsed.data,
      domains: (domains as [string, ...string[]] | undefined) ?? [`matrix.${serverName}`, `synapse.${serverName}`],
      dbPassword: pulumi.secret(dbPassword),
      // The schema has seen to it that both are there.
      tls:
        tls.mode === "provided"
          ? { mode: tls.mode, certificate: tls.certificate ?? "", key: pulumi.secret(tls.key ?? "") }
          : { mode: tls.mode },
    },
  };
}

/** The text of a private key file; the file was checked with the other settings. */
export function readKeyFile(file: string): string {
  return readFileSync(resolve(__dirname, file), "utf8");
}

function keyFileProblem(file: string): string | undefined {
  if (!existsSync(resolve(__dirname, file)))
    return "is no file: give the path of a private SSH key, or leave it out to use the ssh-agent";
  const text = readKeyFile(file);
  if (!text.includes("PRIVATE KEY-----")) return "is no private key: the public one ends in .pub, give the other";
  const body = Buffer.from(text.replace(/-----.*?-----/g, ""), "base64").toString("latin1");
  if (text.includes("ENCRYPTED") || body.slice(0, 64).includes("bcrypt"))
    return "has a passphrase, which nobody could type in here: load it with ssh-add and leave this setting out";
  return undefined;
}

function decode(name: string, text: string): unknown {
  if (unwrap(settingsSchema.shape[name as keyof typeof settingsSchema.shape]) instanceof z.ZodString) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The schema under "optional" and "with default". */
export function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
    inner = inner.unwrap();
  return inner;
}

/** What is known of a setting by its path; undefined for what is not a setting. */
function metaOf(path: readonly PropertyKey[]): SettingMeta | undefined {
  let schema: z.core.$ZodType | undefined = settingsSchema;
  for (const key of path) {
    schema = unwrap(schema);
    if (schema instanceof z.ZodObject) schema = (schema.shape as Record<PropertyKey, z.core.$ZodType>)[key];
    else if (schema instanceof z.ZodArray) return metaOf(path.slice(0, -1));
    else return undefined;
  }
  return z.globalRegistry.get(schema as z.ZodType) as SettingMeta | undefined;
}

function describe(issue: z.core.$ZodIssue, values: unknown): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map(
      (key) => `${dotted([...issue.path, key])} is not a setting; did you mean ${nearestName([...issue.path, key])}?`,
    );
  }
  const meta = metaOf(issue.path);
  const value = valueAt(values, issue.path);
  const example = meta?.example === undefined ? "" : `; for example: ${setCommand(issue.path, meta)}`;
  if (value === undefined && issue.code === "invalid_type") {
    return [`${dotted(issue.path)} is missing (${firstWordLower(meta?.description ?? "it has to be set.")})${example}`];
  }
  const shown =
    meta?.secret === true || typeof value === "object" || value === undefined
      ? ""
      : ` (it is ${JSON.stringify(value)})`;
  const message =
    issue.code === "invalid_type"
      ? `must be ${expectation(issue.expected)}`
      : issue.code === "invalid_value"
        ? `must be one of ${issue.values.join(", ")}`
        : issue.message;
  return [`${dotted(issue.path)} ${message}${shown}${example}`];
}

function dotted(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

function setCommand(path: readonly PropertyKey[], { example = "", secret }: SettingMeta): string {
  const nested = path.length > 1 ? "--path " : "";
  return secret === true
    ? `pulumi config set ${nested}--secret ${dotted(path)}`
    : `pulumi config set ${nested}${dotted(path)} ${/[[{ ]/.test(example) && !example.startsWith('"') ? `'${example}'` : example}`;
}

function nearestName(path: readonly PropertyKey[]): string {
  const parent = path.slice(0, -1);
  let schema: z.core.$ZodType | undefined = settingsSchema;
  for (const key of parent) {
    schema = unwrap(schema);
    schema = schema instanceof z.ZodObject ? (schema.shape as Record<PropertyKey, z.core.$ZodType>)[key] : undefined;
  }
  const object = unwrap(schema);
  const names = object instanceof z.ZodObject ? Object.keys(object.shape) : [];
  return dotted([...parent, closest(String(path.at(-1)), names)]);
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    values,
  );
}

function expectation(type: string): string {
  const words: Readonly<Record<string, string>> = {
    array: "a list",
    boolean: "true or false",
    int: "a whole number",
    number: "a number",
    object: "an object with keys",
    record: "an object with keys",
    string: "a text",
  };
  return words[type] ?? type;
}

function firstWordLower(sentence: string): string {
  return sentence.replace(/^./, (letter) => letter.toLowerCase()).replace(/\.$/, "");
}
