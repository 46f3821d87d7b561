import { closest } from "fastest-levenshtein";

import known from "./synapse-settings.json";

/** The JSON types that a setting of homeserver.yaml may have, and the keys of one that is an object. */
interface KnownSetting {
  readonly types: readonly string[];
  readonly keys?: Readonly<Record<string, readonly string[]>>;
}

/** homeserver.yaml's settings by name; from Synapse 1.157's own schema. */
const KNOWN: Readonly<Record<string, KnownSetting>> = known;

/** What the program itself sets, and what to set in its place. */
const OWNED: Readonly<Record<string, string>> = {
  server_name: "set serverName",
  public_baseurl: "set domains; the first is the address",
  database: "the program makes the database: set dbPassword",
  databases: "the program makes the database: set dbPassword",
  listeners: "nginx is the only listener that the world sees: set domains and nginx",
  log_config: "set synapse.logLevel",
  media_store_path: "media are kept in /opt/synapse/media_store",
  pid_file: "systemd keeps the service",
  daemonize: "systemd keeps the service",
  signing_key_path: "the key is made on the machine and stays there",
  tls_certificate_path: "nginx has the certificate: set tls",
  tls_private_key_path: "nginx has the certificate: set tls",
  serve_server_wellknown: "nginx serves discovery",
  ...Object.fromEntries(
    ["registration_shared_secret", "macaroon_secret_key", "form_secret"].flatMap((name) => [
      [name, "the program makes this secret and keeps it in the stack"],
      [`${name}_path`, "the program makes this secret and keeps it in the stack"],
    ]),
  ),
};

/** Something that is wrong with a setting. */
export interface Problem {
  /** Where, from the setting inwards. */
  readonly path: readonly string[];
  /** What, as the end of a sentence that begins with the setting's name. */
  readonly message: string;
}

/**
 * What Synapse would not take, or would silently ignore, of free-form settings for homeserver.yaml. `alsoKnown` names settings
 * that are newer than the list. Pure.
 */
export function checkHomeserverSettings(
  settings: Readonly<Record<string, unknown>>,
  alsoKnown: readonly string[] = [],
): Problem[] {
  return Object.entries(settings).flatMap(([name, value]) => {
    const owned = OWNED[name];
    if (owned !== undefined) return [{ path: [name], message: `is set by the program: ${owned}` }];
    if (alsoKnown.includes(name)) return [];
    const setting = KNOWN[name];
    if (setting === undefined) {
      const nearest = closest(name, Object.keys(KNOWN));
      return [
        {
          path: [name],
          message: `is no setting of Synapse; did you mean ${nearest}? (If a newer Synapse has it, add it to synapse.newSettings)`,
        },
      ];
    }
    return checkValue([name], value, setting);
  });
}

function checkValue(path: string[], value: unknown, { types, keys }: KnownSetting): Problem[] {
  if (!hasType(value, types)) {
    return [{ path, message: `must be ${types.map(article).join(" or ")}, not ${article(typeOf(value))}` }];
  }
  if (keys === undefined || typeOf(value) !== "object") return [];
  return Object.entries(value as object).flatMap(([key, inner]): Problem[] => {
    const types = keys[key];
    if (types === undefined) {
      return [
        { path: [...path, key], message: `is no setting of Synapse; did you mean ${closest(key, Object.keys(keys))}?` },
      ];
    }
    return checkValue([...path, key], inner, { types });
  });
}

function hasType(value: unknown, types: readonly string[]): boolean {
  const type = typeOf(value);
  return types.includes(type) || (type === "integer" && types.includes("number"));
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function article(type: string): string {
  const words: Readonly<Record<string, string>> = {
    array: "a list",
    boolean: "true or false",
    integer: "a whole number",
    null: "null",
    number: "a number",
    object: "an object with keys",
    string: "a text",
  };
  return words[type] ?? type;
}

/** Synapse's `max_upload_size` as nginx writes it: `50M` stays, a plain number is bytes. Undefined when it is neither. */
export function nginxSize(size: unknown): string | undefined {
  const text = typeof size === "number" ? String(size) : size;
  return typeof text === "string" && /^[0-9]+[KMG]?$/.test(text) ? text : undefined;
}
