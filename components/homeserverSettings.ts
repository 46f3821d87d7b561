import { nearest } from "./nearest";
import catalogue from "./synapse-settings.json";

/**
 * What a setting of homeserver.yaml may be: types with `|` between them, or the keys of an object by name. The types are
 * JSON's, and Synapse's own `duration` (`1h`) and `size` (`50M`); `object` alone may have any keys, and `any` is anything.
 */
export type KnownSetting = string | { readonly [key: string]: KnownSetting };

/**
 * homeserver.yaml's settings by name, with those inside them: from the description in the source archive of Synapse 1.163.2
 * (docs/usage/configuration/config_documentation.md, AGPL-3.0), by config/homeserverCatalogue.ts, which also says how to
 * make it from a newer one and where the description had to be corrected.
 */
const HOMESERVER: Readonly<Record<string, KnownSetting>> = catalogue;

const OWN_SECRET = "the program makes this secret and keeps it in the stack";
const WORKERS_OWN = "it would make this process a worker, and the program makes those itself, set workers";

/** What the program itself sets, and what to set in its place. */
const OWNED: ReadonlyMap<string, string> = new Map([
  ["server_name", "set serverName"],
  ["public_baseurl", "set domains, the first of which is the address"],
  ["database", "set dbPassword for the program's own database, or database for another"],
  ["databases", "set dbPassword for the program's own database, or database for another"],
  ["listeners", "nginx is the only listener that the world sees, set domains and nginx"],
  ["log_config", "set synapse.logLevel"],
  ["media_store_path", "media are kept in /opt/synapse/media_store"],
  ["pid_file", "systemd keeps the service"],
  ["daemonize", "systemd keeps the service"],
  ["print_pidfile", "systemd keeps the service"],
  ["signing_key_path", "the key is made on the machine and stays there"],
  ["tls_certificate_path", "nginx has the certificate, set tls"],
  ["tls_private_key_path", "nginx has the certificate, set tls"],
  ["serve_server_wellknown", "nginx serves discovery, set nginx.apexSite"],
  ...["registration_shared_secret", "macaroon_secret_key", "form_secret"].flatMap((name): [string, string][] => [
    [name, OWN_SECRET],
    [`${name}_path`, OWN_SECRET],
  ]),
  ...["app", "name", "listeners", "log_config", "daemonize", "pid_file", "manhole"].map((name): [string, string] => [
    `worker_${name}`,
    WORKERS_OWN,
  ]),
]);

/** Something that is wrong with a setting. */
export interface Problem {
  /** Where, from the setting inwards. */
  readonly path: readonly string[];
  /** What, as the end of a sentence that begins with the setting's name. It never has the setting's value in it. */
  readonly message: string;
}

/** Free-form settings for homeserver.yaml, by Synapse's own names. */
export type FreeSettings = Readonly<Record<string, unknown>>;

/**
 * What Synapse would not take, or would silently ignore, of free-form settings for homeserver.yaml. `alsoKnown` names settings
 * that are newer than the catalogue: `name`, or `object.name`. Pure.
 */
export function checkHomeserverSettings(settings: FreeSettings, alsoKnown: readonly string[] = []): Problem[] {
  const own = Object.keys(settings).filter((name) => OWNED.has(name));
  const free = Object.fromEntries(Object.entries(settings).filter(([name]) => !OWNED.has(name)));
  return [
    ...own.map((name) => ({ path: [name], message: `is set by the program: ${OWNED.get(name) ?? ""}` })),
    ...checkValue([], free, HOMESERVER, new Set(alsoKnown)),
    ...checkTogether(settings),
  ];
}

/** Whether Synapse has a setting of that name, which the program leaves to the operator. */
export function isHomeserverSetting(name: string): boolean {
  return Object.hasOwn(HOMESERVER, name) && !OWNED.has(name);
}

/** Paths of the settings with a secret in them, by their names. Pure. */
export function secretPaths(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) {
    const secret = /(^|_)(secret|secret_key|pass|password|pepper|private_key|dsn)$/.test(path.at(-1) ?? "");
    return secret && typeof value === "string" && value !== "" ? [[...path]] : [];
  }
  return Object.entries(value).flatMap(([key, inner]) => secretPaths(inner, [...path, key]));
}

/** Synapse's `max_upload_size` as nginx writes it: `50M` stays, a plain number is bytes. Undefined when it is neither. */
export function nginxSize(size: unknown): string | undefined {
  const text = typeof size === "number" ? String(size) : size;
  return typeof text === "string" && /^[0-9]+[KMG]?$/.test(text) ? text : undefined;
}

function checkValue(path: string[], value: unknown, known: KnownSetting, alsoKnown: ReadonlySet<string>): Problem[] {
  const types = typeof known === "string" ? known.split("|") : ["object"];
  if (!types.some((type) => hasType(value, type))) {
    return [{ path, message: `must be ${types.map(inWords).join(" or ")}, not ${inWords(typeOf(value))}` }];
  }
  if (typeof known === "string") return [];
  return Object.entries(value as FreeSettings).flatMap(([key, inner]): Problem[] => {
    const innerPath = [...path, key];
    if (alsoKnown.has(innerPath.join("."))) return [];
    // Not keys[key]: "constructor" is in every object.
    if (Object.hasOwn(known, key)) return checkValue(innerPath, inner, known[key] ?? "any", alsoKnown);
    const meant = nearest(key, Object.keys(known));
    return [
      {
        path: innerPath,
        message:
          (meant === undefined
            ? "is no setting of Synapse"
            : `is no setting of Synapse; did you mean ${[...path, meant].join(".")}?`) +
          ` (If a newer Synapse has it, add ${innerPath.join(".")} to synapse.newSettings)`,
      },
    ];
  });
}

/** What Synapse refuses at its start because of how settings stand to each other. */
function checkTogether(settings: FreeSettings): Problem[] {
  const problems: Problem[] = [];
  const on = (name: string) => settings[name] === true;
  const verified =
    on("enable_registration_without_verification") ||
    on("enable_registration_captcha") ||
    on("registration_requires_token") ||
    (Array.isArray(settings.registrations_require_3pid) && settings.registrations_require_3pid.length > 0);
  if (on("enable_registration") && !verified) {
    problems.push({
      path: ["enable_registration"],
      message:
        "would let anybody register unchecked, which Synapse refuses: set homeserver.registration_requires_token, homeserver.enable_registration_captcha or homeserver.registrations_require_3pid as well",
    });
  }
  if (settings.max_upload_size !== undefined && nginxSize(settings.max_upload_size) === undefined) {
    // Other than with T, which Synapse takes and nginx does not, the type has been found wrong already.
    if (hasType(settings.max_upload_size, "size"))
      problems.push({ path: ["max_upload_size"], message: "is more than nginx can be told: write it with K, M or G" });
  }
  for (const name of ["turn_shared_secret", "recaptcha_private_key", "recaptcha_public_key"]) {
    if (settings[name] !== undefined && settings[`${name}_path`] !== undefined)
      problems.push({ path: [name], message: `and homeserver.${name}_path exclude each other` });
  }
  return problems;
}

function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case "any":
      return true;
    case "number":
      return typeof value === "number";
    case "duration":
      return Number.isInteger(value) || (typeof value === "string" && /^[0-9]+[smhdwy]?$/.test(value));
    case "size":
      return Number.isInteger(value) || (typeof value === "string" && /^[0-9]+[KMGT]?$/.test(value));
    default:
      return typeOf(value) === type;
  }
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function inWords(type: string): string {
  const words: ReadonlyMap<string, string> = new Map([
    ["array", "a list"],
    ["boolean", "true or false"],
    ["duration", "a duration such as 30s, 5m, 12h, 7d, 4w or 1y"],
    ["integer", "a whole number"],
    ["null", "null"],
    ["number", "a number"],
    ["object", "an object with keys"],
    ["size", "a number of bytes, or one with K, M or G behind it such as 100M"],
    ["string", "a text"],
  ]);
  return words.get(type) ?? type;
}
