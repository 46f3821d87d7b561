/**
 * Writes components/synapse-settings.json, the catalogue that free-form `homeserver` settings are checked with, from
 * Synapse's own description of them in its source archive. For a newer Synapse:
 *
 *   pip download --no-deps --no-binary :all: matrix-synapse==1.163.2 && tar xf matrix_synapse-*.tar.gz
 *   npx tsx config/homeserverCatalogue.ts matrix_synapse-1.163.2/docs/usage/configuration/config_documentation.md
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { KnownSetting } from "../components/homeserverSettings";

/** Where the description is narrower than the code that reads the setting. */
const CORRECTIONS: Readonly<Record<string, string>> = {
  default_room_version: "string|integer",
  "email.smtp_port": "integer|string|null",
  federation_client_minimum_tls_version: "string|number",
  max_avatar_size: "size|null",
  "redis.dbid": "integer|string|null",
  ui_auth: "object|duration",
  "user_consent.version": "number|string",
  ...Object.fromEntries(
    ["events", "typing", "to_device", "account_data", "receipts", "presence", "push_rules", "device_lists"].map(
      (stream) => [`stream_writers.${stream}`, "string|array"],
    ),
  ),
};

/** What the code reads and the description leaves out. */
const UNDESCRIBED: Readonly<Record<string, string>> = {
  account_validity: "object",
  allow_underscore_prefixed_localpart: "boolean",
  experimental_features: "object",
  oidc_config: "object",
  password_providers: "array",
  spam_checker: "object|array",
  third_party_event_rules: "object",
  use_presence: "boolean",
};
const UNDESCRIBED_KEYS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  saml2_config: { enabled: "boolean" },
};

const SUB_OPTIONS = /^( *)This setting has the following sub-options:/;
const BULLET = /^( *)\* `([a-z0-9_]+)`(?: \(([^)]+)\))?:/;

type Catalogue = Record<string, KnownSetting>;

function readCatalogue(markdown: string): Catalogue {
  const catalogue: Catalogue = { ...UNDESCRIBED };
  for (const section of markdown.split(/^(?=### `)/m).slice(1)) {
    const name = /^### `([a-z0-9_]+)`/.exec(section)?.[1];
    if (name === undefined) continue;
    // A setting whose type is not said takes a duration or null, by all of their texts.
    const types = typesOf(name, /^### .*\n\n\*\(([^)]+)\)\*/.exec(section)?.[1] ?? "duration|null");
    const keys = keysOf(name, section.split("\n"));
    // What a list's items may have is not said completely.
    catalogue[name] = types === "object" && Object.keys(keys).length > 0 ? keys : types;
  }
  return catalogue;
}

/** The sub-options of a setting, and those of its sub-options, told apart by their indentation. */
function keysOf(name: string, lines: readonly string[]): Catalogue {
  const keys: Catalogue = { ...UNDESCRIBED_KEYS[name] };
  // The innermost list of sub-options comes last.
  const open: { keys: Catalogue; path: string; indent: number }[] = [];
  let last: { parent: Catalogue; key: string; path: string } | undefined;
  for (const line of lines) {
    const opening = SUB_OPTIONS.exec(line);
    if (opening !== null) {
      const inner = last === undefined ? keys : {};
      if (last !== undefined) last.parent[last.key] = inner;
      open.push({ keys: inner, path: last?.path ?? name, indent: (opening[1] ?? "").length });
    }
    const bullet = BULLET.exec(line);
    if (bullet === null) continue;
    const [, space = "", key = "", type = "any"] = bullet;
    while ((open.at(-1)?.indent ?? 0) > space.length) open.pop();
    const parent = open.at(-1);
    if (parent?.indent !== space.length) continue;
    const path = `${parent.path}.${key}`;
    parent.keys[key] = typesOf(path, type);
    last = { parent: parent.keys, key, path };
  }
  return keys;
}

function typesOf(path: string, described: string): string {
  return CORRECTIONS[path] ?? described.replace("byte size", "size");
}

function sorted(setting: KnownSetting): KnownSetting {
  if (typeof setting === "string") return setting;
  return Object.fromEntries(
    Object.entries(setting)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

const [description] = process.argv.slice(2);
if (description === undefined) throw new Error("give the path of Synapse's config_documentation.md");
const catalogue = sorted(readCatalogue(readFileSync(description, "utf8")));
writeFileSync(
  join(__dirname, "..", "components", "synapse-settings.json"),
  `${JSON.stringify(catalogue, undefined, 2)}\n`,
);
