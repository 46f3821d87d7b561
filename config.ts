import * as pulumi from "@pulumi/pulumi";

import type { ExternalDatabaseArgs } from "./components/ExternalDatabase";
import type { CertificateSource } from "./components/TlsCertificate";
import { addressProblem } from "./config/names";
import { decode, inspect, type Tree, valueAt } from "./config/reading";
import { checkTogether, type Circumstances, domainsOf, servedNames } from "./config/rules";
import { type ReadSettings, settingsSchema } from "./config/schema";

export { readKeyFile } from "./config/sshKeys";

/** What a stack is set to, complete and checked. docs/settings.md says what each setting means. */
export interface Settings extends Omit<ReadSettings, "domains" | "dbPassword" | "database" | "admin" | "tls"> {
  /** At least one; the first is the address that clients use. */
  readonly domains: [string, ...string[]];
  /** The names that nginx on the machine answers for, and its certificate has to be good for. */
  readonly servedNames: readonly string[];
  /** Secret. */
  readonly dbPassword: pulumi.Output<string>;
  /** Undefined where PostgreSQL is on the machine. */
  readonly database?: Pick<ExternalDatabaseArgs, "address" | "ca">;
  /** The password is secret; undefined where the program has to make one. */
  readonly admin: { readonly localpart: string; readonly password?: pulumi.Output<string> };
  readonly tls: CertificateSource;
  /** Whether `homeserver` has something in it that is encrypted in the stack file, so that what is made of it is secret. */
  readonly homeserverIsSecret: boolean;
}

/** What there is to be known besides the values. */
export interface Surroundings {
  /** Names of the settings that are encrypted in the stack file, in whole or in part. Left out, nothing is asked about it. */
  readonly secretKeys?: ReadonlySet<string>;
  /** The time that certificates have to be good at. Default: now. */
  readonly now?: Date;
}

/** The settings and what soon will be wrong with them, or all that is wrong; whole sentences, without any secret in them. */
export type ParsedSettings =
  { readonly settings: Settings; readonly warnings: readonly string[] } | { readonly problems: readonly string[] };

/** The stack's settings. Logs what soon will be wrong with them; throws a RunError that names all that is wrong. */
export function readSettings(): Settings {
  const prefix = `${pulumi.getProject()}:`;
  const own = Object.entries(pulumi.runtime.allConfig() as Record<string, string>).filter(([key]) =>
    key.startsWith(prefix),
  );
  const raw = Object.fromEntries(own.map(([key, value]) => [key.slice(prefix.length), value]));
  const secretKeys = new Set(Object.keys(raw).filter((name) => isConfigSecret(prefix + name)));
  const result = parseSettings(raw, { secretKeys });
  if ("problems" in result) {
    const { problems } = result;
    throw new pulumi.RunError(
      [
        problems.length === 1
          ? `a setting of the stack ${pulumi.getStack()} is not right:`
          : `${problems.length} things in the settings of the stack ${pulumi.getStack()} are not right:`,
        ...problems.map((problem) => `  ${problem}`),
        "docs/settings.md describes every setting.",
      ].join("\n"),
    );
  }
  for (const warning of result.warnings) void pulumi.log.warn(warning);
  return result.settings;
}

/** `raw` has the values as the engine gives them: text for a text, JSON for all else. Pure but for the files that it names. */
export function parseSettings(raw: Readonly<Record<string, string>>, surroundings: Surroundings = {}): ParsedSettings {
  const { secretKeys, now = new Date() } = surroundings;
  const isSecret = (name: string) => secretKeys?.has(name) ?? true;
  const problems: string[] = [];
  const given = decode(raw);
  const right = inspect(settingsSchema, given, [], {
    report: (problem) => problems.push(problem),
    isSecret: (name) => secretKeys?.has(name) ?? false,
    machine: secretKeys?.has("host") === true ? "ADDRESS" : machineOf(given),
  });
  const verdict = checkTogether({ given, settings: right as Circumstances["settings"], isSecret, now });
  problems.push(...verdict.problems);
  if (problems.length > 0) return { problems };
  return {
    settings: complete(settingsSchema.parse(right), secretKeys?.has("homeserver") ?? false),
    warnings: verdict.warnings,
  };
}

/** The machine as ssh-keyscan takes it, as far as the stack says it. Not to be shown where that is encrypted. */
function machineOf(given: Tree): string {
  const [address, port] = [valueAt(given, ["host", "address"]), valueAt(given, ["host", "port"])];
  const option = Number.isInteger(port) && port !== 22 ? `-p ${String(port)} ` : "";
  return option + (typeof address === "string" && addressProblem(address) === undefined ? address : "ADDRESS");
}

function complete(read: ReadSettings, homeserverIsSecret: boolean): Settings {
  const { serverName, dbPassword, database, admin, ...others } = read;
  const domains = domainsOf(read);
  return {
    ...others,
    serverName,
    domains,
    servedNames: servedNames(serverName, domains, read.nginx.apexSite),
    dbPassword: pulumi.secret(dbPassword),
    ...(database && { database: databaseElsewhere(database) }),
    admin: {
      localpart: admin.localpart,
      ...(admin.password !== undefined && { password: pulumi.secret(admin.password) }),
    },
    tls: certificateSource(read.tls),
    homeserverIsSecret,
  };
}

function databaseElsewhere({ tlsMode, ca, ...address }: NonNullable<ReadSettings["database"]>) {
  return { address: { ...address, sslMode: tlsMode }, ...(ca !== undefined && { ca }) };
}

// Where a mode needs a setting, the rules have seen to it that it is there.
function certificateSource({ mode, ...tls }: ReadSettings["tls"]): CertificateSource {
  const ca = tls.ca !== undefined && { ca: `${tls.ca}\n` };
  switch (mode) {
    case "selfsigned":
      return { mode };
    case "provided":
      return {
        mode,
        certificate: `${tls.certificate ?? ""}\n`,
        key: pulumi.secret(`${tidyPem(tls.key ?? "")}\n`),
        ...ca,
      };
    case "acme":
      return {
        mode,
        email: tls.acmeEmail ?? "",
        directory: tls.acmeDirectory,
        ...ca,
      };
  }
}

function tidyPem(text: string): string {
  return text.replaceAll("\r\n", "\n").trim();
}

/** Pulumi's own answer, which its type declarations leave out: whether any part of a stack setting is encrypted. */
function isConfigSecret(key: string): boolean {
  const runtime: unknown = pulumi.runtime;
  return (runtime as { isConfigSecret: (key: string) => boolean }).isConfigSecret(key);
}
