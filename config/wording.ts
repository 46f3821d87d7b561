import type { z } from "zod";

import { isHomeserverSetting } from "../components/homeserverSettings";
import { nearest } from "../components/nearest";
import { childrenOf, leaves, metaOf, settingAt, type SettingPath, settingsSchema, unwrap } from "./schema";

/** `domains[0]`, `host.address`: a setting by the name that `pulumi config` takes. */
export function dotted(path: SettingPath): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}

/** The command that sets a setting to a right value. */
export function setCommand(path: SettingPath): string {
  const schema = settingAt(path);
  if (schema === undefined) return "";
  const { command, example } = metaOf(schema);
  if (command !== undefined) return command;
  if (example !== undefined) return setTo(path, example);
  const [first] = childrenOf(schema).keys();
  return first === undefined ? "" : setCommand([...path, first]);
}

/** The command that sets a setting to `value`. */
export function setTo(path: SettingPath, value: string): string {
  return `pulumi config set ${option(path)}${quote(dotted(path))} ${quote(value)}`;
}

/** The command that encrypts a setting of whatever value. */
export function encryptCommand(path: SettingPath): string {
  return `pulumi config set ${option(path)}--secret ${quote(dotted(path))}`;
}

/** The command that takes a setting away. */
export function removeCommand(path: SettingPath): string {
  return `pulumi config rm ${option(path)}${quote(dotted(path))}`;
}

/** Names that people give to settings, without capitals and punctuation, and the settings. What is merely misspelt needs no entry. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ...["domain", "homeserver_name", "matrixdomain", "apex"].map((name) => [name, "serverName"] as const),
  ...["fqdn", "baseurl", "publicbaseurl", "hostnames"].map((name) => [name, "domains"] as const),
  ...["password", "postgrespassword", "postgresqlpassword", "pgpassword", "dbpass", "databasepassword"].map(
    (name) => [name, "dbPassword"] as const,
  ),
  ...["ip", "hostname", "address", "server", "hostip", "hosthost", "hosthostname", "target"].map(
    (name) => [name, "host.address"] as const,
  ),
  ...["sshuser", "username", "hostusername"].map((name) => [name, "host.user"] as const),
  ...["sshport"].map((name) => [name, "host.port"] as const),
  ...["knownhosts", "fingerprint", "hostfingerprint", "hostpublickey"].map((name) => [name, "host.hostKey"] as const),
  ...["sshkey", "privatekey", "hostprivatekey", "identityfile", "hostkeyfile", "hostpassword"].map(
    (name) => [name, "host.privateKeyFile"] as const,
  ),
  ...["adminuser", "adminname", "adminusername", "adminuserid"].map((name) => [name, "admin.localpart"] as const),
  ...["acme", "letsencrypt", "certbot", "ssl", "https", "tlsacme", "tlsletsencrypt"].map(
    (name) => [name, "tls.mode"] as const,
  ),
  ...["letsencryptemail", "tlsemail", "certbotemail"].map((name) => [name, "tls.acmeEmail"] as const),
  ...["cert", "tlscert", "sslcertificate", "fullchain", "tlsfullchain", "tlschain"].map(
    (name) => [name, "tls.certificate"] as const,
  ),
  ...["tlsprivatekey", "sslkey", "sslcertificatekey"].map((name) => [name, "tls.key"] as const),
  ...["tlscacertificate", "tlsacmeca", "acmeca"].map((name) => [name, "tls.ca"] as const),
  ...["tlsdirectory", "tlsserver", "tlsacmeserver", "acmeserver"].map((name) => [name, "tls.acmeDirectory"] as const),
  ...["wellknown", "nginxwellknown", "delegation"].map((name) => [name, "nginx.apexSite"] as const),
  ...["databasedatabase", "databasedbname"].map((name) => [name, "database.name"] as const),
  ...["databaserole", "databaseusername"].map((name) => [name, "database.user"] as const),
  ...["databasesslmode", "databasessl", "databasetls"].map((name) => [name, "database.tlsMode"] as const),
  ...["databasesslrootcert", "databasecertificate"].map((name) => [name, "database.ca"] as const),
  ...["databasehostname", "databaseaddress"].map((name) => [name, "database.host"] as const),
  ...["extraconfig", "settings", "homeserveryaml", "synapseconfig"].map((name) => [name, "homeserver"] as const),
]);

/** What those names are taken for, for the test that they are there. */
export const aliasTargets: readonly string[] = [...ALIASES.values()];

/** What is said of a name that is no setting. */
export function unknownSetting(path: SettingPath): string {
  const name = dotted(path);
  const [key] = path;
  if (path.length === 1 && typeof key === "string" && /[.[]/.test(key)) {
    const parts = key.split(/[.[\]]+/).filter((part) => part !== "");
    const meant = settingAt(parts);
    if (meant !== undefined && parts.length > 1)
      return `${name} was set without --path and so has no effect; take it away with: ${removeCommand(path)}; and set: ${setCommand(parts)}`;
  }
  const take = `; take it away with: ${removeCommand(path)}`;
  const meant = meantBy(path);
  if (meant !== undefined)
    return `${name} is not a setting; did you mean ${meant}? It is set with: ${setCommand(meant.split("."))}${take}`;
  const parent = path.slice(0, -1);
  const names = [...childrenOf(settingAt(parent) ?? settingsSchema).keys()].map((sibling) =>
    dotted([...parent, sibling]),
  );
  return `${name} is not a setting; there are ${names.join(", ")}${take}`;
}

function meantBy(path: SettingPath): string | undefined {
  const name = dotted(path);
  const own = String(path.at(-1));
  const alias = ALIASES.get(plain(name));
  if (alias !== undefined) return alias;
  const parent = path.slice(0, -1);
  const sibling = nearest(own, [...childrenOf(settingAt(parent) ?? settingsSchema).keys()]);
  const exactly = (candidate: string) => plain(candidate) === plain(own);
  if (sibling !== undefined && exactly(sibling)) return dotted([...parent, sibling]);
  if (path.length === 1 && isHomeserverSetting(own)) return `homeserver.${own}`;
  const all = leaves().map(([leaf]) => leaf);
  const elsewhere =
    all.find((leaf) => plain(leaf.join("")) === plain(name)) ?? all.find((leaf) => exactly(leaf.at(-1) ?? ""));
  if (elsewhere !== undefined) return elsewhere.join(".");
  return sibling === undefined ? nearest(name, all.map(dotted)) : dotted([...parent, sibling]);
}

/** What is said of a text or a list where an object with keys is due. */
export function notAnObject(path: SettingPath, value: unknown): string {
  const given = typeof value === "string" ? value.trim() : undefined;
  const schema = settingAt(path);
  const children = schema === undefined ? [] : [...childrenOf(schema)];
  const fits = (child: z.core.$ZodType) => (unwrap(child) as z.ZodType).safeParse(given).success;
  const [first] = children;
  const isEnum = first !== undefined && unwrap(first[1])._zod.def.type === "enum";
  const anySecret = children.some(([, child]) => metaOf(child).secret === true);
  // Whatever is shown again may have been meant for the secret one of the keys, unless it is one of a few words.
  const write =
    first !== undefined && given !== undefined && fits(first[1]) && (isEnum || !anySecret)
      ? setTo([...path, first[0]], given)
      : setCommand(path);
  return `${dotted(path)} must be an object with keys; write: ${write}`;
}

/** ` (it is "…")`, or nothing where that is too long, or might tell a secret that has got into the wrong place. */
export function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean") return ` (it is ${String(value)})`;
  const showable = typeof value === "string" && value.length <= 80 && !/\p{Cc}|-----|:[^/]*@/u.test(value);
  return showable ? ` (it is ${JSON.stringify(value)})` : "";
}

/** A JSON type in words. */
export function inWords(type: string): string {
  const words: ReadonlyMap<string, string> = new Map([
    ["array", "a list"],
    ["boolean", "true or false"],
    ["int", "a whole number"],
    ["number", "a number"],
    ["object", "an object with keys"],
    ["record", "an object with keys"],
    ["string", "a text"],
  ]);
  return words.get(type) ?? type;
}

/** A sentence as a part of another. */
export function asClause(sentence: string): string {
  return sentence.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase()).replace(/\.$/, "");
}

const option = (path: SettingPath) => (path.length > 1 ? "--path " : "");
const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
