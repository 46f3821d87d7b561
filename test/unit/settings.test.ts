import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";

import { checkHomeserverSettings } from "../../components/homeserverSettings";
import { type ParsedSettings, parseSettings, readKeyFile, readSettings, type Settings } from "../../config";
import { leaves, metaOf, settingAt } from "../../config/schema";
import { aliasTargets } from "../../config/wording";
import { PUBLIC_KEY } from "./openpgp";
import { makeCertificates } from "./settings.certificates";

const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEgSGAxhyy0bAHEMR8jEJTB6AqDUeFiJbsxBCRMoVnlQ";
const PASSWORD = "Zaeng7ieghooc4ohpeef";
const DAY = 86_400_000;

type Stack = Readonly<Record<string, unknown>>;

const host = { address: "203.0.113.10", hostKey: HOST_KEY };
const minimal: Stack = { serverName: "example.com", dbPassword: PASSWORD, host };

/** The stack's values as the engine gives them. */
function encode(stack: Stack): Record<string, string> {
  const set = Object.entries(stack).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    set.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

/** What a careful operator has encrypted: what has a secret in it. */
function encrypted(stack: Stack): Set<string> {
  const given = leaves().filter(([[name = "", key], schema]) => {
    const value = stack[name];
    const inner = key === undefined ? value : (value as Record<string, unknown> | undefined)?.[key];
    return metaOf(schema).secret === true && inner !== undefined;
  });
  return new Set(given.map(([[name = ""]]) => name));
}

function parse(stack: Stack, secretKeys = encrypted(stack), now = new Date()): ParsedSettings {
  return parseSettings(encode(stack), { secretKeys, now });
}

function problemsOf(stack: Stack, secretKeys?: Set<string>, now?: Date): readonly string[] {
  const result = parse(stack, secretKeys, now);
  return "problems" in result ? result.problems : [];
}

function settingsOf(stack: Stack, secretKeys?: Set<string>): Settings {
  const result = parse(stack, secretKeys);
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  return result.settings;
}

const made = makeCertificates();
const fullChain = `${made.server.certificate}\n${made.intermediate.certificate}`;
const provided = { mode: "provided", certificate: fullChain, key: made.server.key };

const folder = mkdtempSync(join(tmpdir(), "keys-"));
const keyFile = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const goodKeyFile = keyFile("id", made.server.key);
const publicKeyFile = keyFile("id.pub", HOST_KEY);
const lockedKeyFile = keyFile("locked", made.encryptedKey);
const puttyKeyFile = keyFile("key.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n");
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const SET_NAME = "for example: pulumi config set serverName example.com";
const SET_PASSWORD = "openssl rand -hex 24 | pulumi config set --secret dbPassword";
const SET_DOMAIN = "for example: pulumi config set --path 'domains[0]' matrix.example.com";
const SET_ADDRESS = "for example: pulumi config set --path host.address 203.0.113.10";
const SET_CERTIFICATE = "for example: pulumi config set --path tls.certificate < fullchain.pem";
const SET_KEY = "for example: pulumi config set --path --secret tls.key < privkey.pem";
const SET_KEY_FILE = "for example: pulumi config set --path host.privateKeyFile /home/me/.ssh/id_ed25519";
const SET_HOST_KEY = `for example: pulumi config set --path host.hostKey "$(ssh-keyscan -t ed25519 203.0.113.10 2>/dev/null | cut -d' ' -f2-)"`;
const SET_LOCALPART = "for example: pulumi config set --path admin.localpart alice";
const SET_ADMIN_PASSWORD = "openssl rand -hex 12 | pulumi config set --path --secret admin.password";
const SET_EMAIL = "for example: pulumi config set --path tls.acmeEmail hostmaster@your-domain.org";
const SET_NETWORK = "for example: pulumi config set --path 'nginx.adminNetworks[0]' 198.51.100.0/24";
const SET_DB_HOST = "for example: pulumi config set --path database.host db.example.com";

/** What a stack has besides, or in place of, the minimal one; and all that is said of it. */
const BAD: readonly (readonly [what: string, change: Stack, ...problems: string[]])[] = [
  // The server's name
  [
    "no name",
    { serverName: undefined },
    `serverName is missing (the name in user ids, @user:example.com. It can never change once the server has users); ${SET_NAME}`,
  ],
  [
    "an empty name",
    { serverName: "" },
    `serverName is missing (the name in user ids, @user:example.com. It can never change once the server has users); ${SET_NAME}`,
  ],
  [
    "a URL",
    { serverName: "https://example.com/" },
    `serverName must be a bare DNS name, without scheme (it is "https://example.com/"); write: pulumi config set serverName example.com`,
  ],
  [
    "a port",
    { serverName: "example.com:8448" },
    `serverName must be a bare DNS name, without a port (it is "example.com:8448"); write: pulumi config set serverName example.com`,
  ],
  [
    "capitals",
    { serverName: "Example.COM" },
    `serverName must be a bare DNS name, in lower case (it is "Example.COM"); write: pulumi config set serverName example.com`,
  ],
  [
    "a final dot",
    { serverName: "example.com." },
    `serverName must be a bare DNS name, without a dot at its end (it is "example.com."); write: pulumi config set serverName example.com`,
  ],
  [
    "a path",
    { serverName: "example.com/chat" },
    `serverName must be a bare DNS name, without a path (it is "example.com/chat"); write: pulumi config set serverName example.com`,
  ],
  [
    "brackets",
    { serverName: "[example.com]" },
    `serverName must be a bare DNS name, without brackets (it is "[example.com]"); write: pulumi config set serverName example.com`,
  ],
  [
    "a user id",
    { serverName: "@alice:example.com" },
    `serverName must be a bare DNS name, without the part of the user (it is "@alice:example.com"); write: pulumi config set serverName example.com`,
  ],
  [
    "an underscore",
    { serverName: "my_chat.example.com" },
    `serverName must be a DNS name, which has no underscore: letters, digits, hyphens and dots only (it is "my_chat.example.com"); ${SET_NAME}`,
  ],
  [
    "an IP address",
    { serverName: "203.0.113.10" },
    `serverName must be a DNS name, not an IP address (it is "203.0.113.10"); ${SET_NAME}`,
  ],
  [
    "an IPv6 address with a port",
    { serverName: "[2001:db8::1]:8448" },
    `serverName must be a DNS name, not an IP address (it is "[2001:db8::1]:8448"); ${SET_NAME}`,
  ],
  [
    "letters beyond ASCII",
    { serverName: "bücher.example" },
    `serverName must be in its ASCII form (it is "bücher.example"); write: pulumi config set serverName xn--bcher-kva.example`,
  ],
  [
    "one label",
    { serverName: "localhost" },
    `serverName must be a DNS name with a dot in it (it is "localhost"); ${SET_NAME}`,
  ],
  ["a number", { serverName: 123 }, `serverName must be a DNS name with a dot in it (it is "123"); ${SET_NAME}`],
  [
    "a wildcard",
    { serverName: "*.example.com" },
    `serverName must be one name, not a wildcard (it is "*.example.com"); ${SET_NAME}`,
  ],
  [
    "a blank",
    { serverName: "example .com" },
    `serverName must be a DNS name: letters, digits, hyphens and dots (it is "example .com"); ${SET_NAME}`,
  ],
  [
    "an object",
    { serverName: { name: "example.com" } },
    `serverName must be a text, not an object with keys; ${SET_NAME}`,
  ],
  // The domains
  [
    "a text for a list",
    { domains: "matrix.example.com" },
    `domains must be a list, not a text (it is "matrix.example.com"); ${SET_DOMAIN}`,
  ],
  [
    "a bad one among them",
    { domains: ["matrix.example.com", "synapse_1.example.com"] },
    `domains[1] must be a DNS name, which has no underscore: letters, digits, hyphens and dots only (it is "synapse_1.example.com"); ${SET_DOMAIN}`,
  ],
  [
    "a number among them",
    { domains: [1] },
    `domains[0] must be a text, not a number: put it in quotes (it is 1); ${SET_DOMAIN}`,
  ],
  [
    "one twice",
    { domains: ["matrix.example.com", "matrix.example.com"] },
    "domains[1] repeats an earlier one: name every domain once",
  ],
  // Passwords
  [
    "no database password",
    { dbPassword: undefined },
    `dbPassword is missing (password of the database's user, at least 8 characters); for example: ${SET_PASSWORD}`,
  ],
  ["a short one", { dbPassword: "g7!kq" }, `dbPassword must have at least 8 characters; for example: ${SET_PASSWORD}`],
  [
    "a placeholder",
    { dbPassword: "CHANGE_ME" },
    `dbPassword is a placeholder that everybody knows; for example: ${SET_PASSWORD}`,
  ],
  [
    "another",
    { dbPassword: "password" },
    `dbPassword is a placeholder that everybody knows; for example: ${SET_PASSWORD}`,
  ],
  [
    "the same letter throughout",
    { dbPassword: "xxxxxxxxxxxxxxxx" },
    `dbPassword is a placeholder that everybody knows; for example: ${SET_PASSWORD}`,
  ],
  [
    "a Windows line end",
    { dbPassword: `${PASSWORD}\r` },
    `dbPassword begins or ends with a blank or a line break (Windows line ends count); for example: ${SET_PASSWORD}`,
  ],
  [
    "two lines",
    { dbPassword: "abcdefgh\nijklmnop" },
    `dbPassword must be one line without control characters; for example: ${SET_PASSWORD}`,
  ],
  [
    "a password as an object",
    { dbPassword: { value: PASSWORD } },
    `dbPassword must be a text, not an object with keys; for example: ${SET_PASSWORD}`,
  ],
  [
    "a short password of the administrator",
    { admin: { password: "g7!kq8" } },
    `admin.password must have at least 12 characters; for example: ${SET_ADMIN_PASSWORD}`,
  ],
  [
    "a number for it",
    { admin: { password: 73519284650173 } },
    `admin.password must be a text, not a number: put it in quotes; for example: ${SET_ADMIN_PASSWORD}`,
  ],
  // The administrator
  [
    "a whole user id",
    { admin: { localpart: "@alice:example.com" } },
    `admin.localpart must be lower-case letters, digits and ._=/+- only (it is "@alice:example.com"); ${SET_LOCALPART}`,
  ],
  [
    "a bridge's name",
    { admin: { localpart: "_alice" } },
    `admin.localpart must not begin with an underscore, which Synapse keeps for bridges (it is "_alice"); ${SET_LOCALPART}`,
  ],
  [
    "a guest's name",
    { admin: { localpart: "1234" } },
    `admin.localpart must not be a number, which Synapse keeps for guests (it is "1234"); ${SET_LOCALPART}`,
  ],
  [
    "a user id too long",
    { admin: { localpart: "a".repeat(200) }, serverName: `${"b".repeat(60)}.example.com` },
    "admin.localpart makes a user id of 274 characters, and Matrix allows 255: choose a shorter one",
  ],
  // The machine
  [
    "no machine",
    { host: undefined },
    `host.address is missing (host name or IP address of the machine); ${SET_ADDRESS}`,
    `host.hostKey is missing (the machine's public SSH host key; no other machine is trusted in its place); ${SET_HOST_KEY.replace("203.0.113.10", "ADDRESS")}`,
  ],
  [
    "a text for the object",
    { host: "1.2.3.4" },
    "host must be an object with keys; write: pulumi config set --path host.address 1.2.3.4",
  ],
  [
    "a URL for the object",
    { host: "ssh://root@1.2.3.4" },
    "host must be an object with keys; write: pulumi config set --path host.address 203.0.113.10",
  ],
  [
    "a list for the object",
    { host: ["1.2.3.4"] },
    "host must be an object with keys; write: pulumi config set --path host.address 203.0.113.10",
  ],
  [
    "an account in the address",
    { host: { ...host, address: "root@203.0.113.10" } },
    `host.address must be a host name or an IP address alone: the account is a setting of its own (it is "root@203.0.113.10"); ${SET_ADDRESS}`,
  ],
  [
    "a port in the address",
    { host: { ...host, address: "203.0.113.10:22" } },
    `host.address must be a host name or an IP address alone: the port is a setting of its own (it is "203.0.113.10:22"); ${SET_ADDRESS}`,
  ],
  [
    "an address in brackets",
    { host: { ...host, address: "[2001:db8::1]" } },
    `host.address must be written without brackets (it is "[2001:db8::1]"); ${SET_ADDRESS}`,
  ],
  [
    "half an address",
    { host: { ...host, address: "203.0.113" } },
    `host.address must be a host name or an IP address (it is "203.0.113"); ${SET_ADDRESS}`,
  ],
  [
    "null",
    { host: { ...host, address: null } },
    `host.address is empty: give it a value, or take its line away; ${SET_ADDRESS}`,
  ],
  [
    "port 0",
    { host: { ...host, port: 0 } },
    "host.port must be from 1 to 65535 (it is 0); for example: pulumi config set --path host.port 2222",
  ],
  [
    "port ssh",
    { host: { ...host, port: "ssh" } },
    'host.port must be a whole number, not a text (it is "ssh"); for example: pulumi config set --path host.port 2222',
  ],
  [
    "a number for the account",
    { host: { ...host, user: 1000 } },
    "host.user must be a text, not a number: put it in quotes (it is 1000); for example: pulumi config set --path host.user cloud-user",
  ],
  [
    "no host key",
    { host: { address: "203.0.113.10", port: 2222 } },
    `host.hostKey is missing (the machine's public SSH host key; no other machine is trusted in its place); ${SET_HOST_KEY.replace("203", "-p 2222 203")}`,
  ],
  [
    "the address before the host key",
    { host: { ...host, hostKey: `203.0.113.10 ${HOST_KEY}` } },
    `host.hostKey must begin with ssh-ed25519: leave out the address in front of it; ${SET_HOST_KEY}`,
  ],
  [
    "a fingerprint",
    { host: { ...host, hostKey: "SHA256:DLgYzlBBCqJDWVYmuoE6j0xhLyBXHZBXxBJOdOhRuYs" } },
    `host.hostKey must be the key itself, not its fingerprint (it is "SHA256:DLgYzlBBCqJDWVYmuoE6j0xhLyBXHZBXxBJOdOhRuYs"); ${SET_HOST_KEY}`,
  ],
  [
    "half a host key",
    { host: { ...host, hostKey: HOST_KEY.slice(0, 60) } },
    `host.hostKey is not a whole key: some of it is missing or changed (it is "${HOST_KEY.slice(0, 60)}"); ${SET_HOST_KEY}`,
  ],
  [
    "no key file",
    { host: { ...host, privateKeyFile: "/nowhere/id" } },
    `host.privateKeyFile is no file: give the path of a private SSH key, or leave it out to use the ssh-agent (it is "/nowhere/id"); ${SET_KEY_FILE}`,
  ],
  [
    "a folder",
    { host: { ...host, privateKeyFile: "/tmp" } },
    `host.privateKeyFile is no file: give the path of a private SSH key, or leave it out to use the ssh-agent (it is "/tmp"); ${SET_KEY_FILE}`,
  ],
  [
    "the home folder's sign",
    { host: { ...host, privateKeyFile: "~/.ssh/id_ed25519" } },
    `host.privateKeyFile must be a path without ~, which nothing expands here: write the home folder's whole path (it is "~/.ssh/id_ed25519"); ${SET_KEY_FILE}`,
  ],
  [
    "the key itself",
    { host: { ...host, privateKeyFile: made.server.key } },
    `host.privateKeyFile must be the path of a file, not the key itself; ${SET_KEY_FILE}`,
  ],
  [
    "the public key",
    { host: { ...host, privateKeyFile: publicKeyFile } },
    `host.privateKeyFile is no private key: the public one ends in .pub, give the other (it is "${publicKeyFile}"); ${SET_KEY_FILE}`,
  ],
  [
    "a passphrase",
    { host: { ...host, privateKeyFile: lockedKeyFile } },
    `host.privateKeyFile has a passphrase, which nobody could type in here: load it with ssh-add and leave this setting out (it is "${lockedKeyFile}"); ${SET_KEY_FILE}`,
  ],
  [
    "PuTTY's format",
    { host: { ...host, privateKeyFile: puttyKeyFile } },
    `host.privateKeyFile is in PuTTY's format: convert it with puttygen FILE -O private-openssh -o id_ed25519 (it is "${puttyKeyFile}"); ${SET_KEY_FILE}`,
  ],
  // Synapse
  [
    "a release without a lock",
    { synapse: { version: "1.2.3" } },
    expect.stringMatching(
      /^synapse\.version must be a release that requirements\/ has a lock for \(.*\); make one with: make lock VERSION=X\.Y\.Z \(it is "1\.2\.3"\); for example: pulumi config set --path synapse\.version [\d.]+$/,
    ) as string,
  ],
  [
    "a number for it",
    { synapse: { version: 1.163 } },
    expect.stringMatching(
      /^synapse\.version must be a text, not a number: put it in quotes \(it is 1\.163\); for example: /,
    ) as string,
  ],
  [
    "an index without a scheme",
    { synapse: { indexUrl: "pypi.example.com/simple" } },
    'synapse.indexUrl must be an http or https URL (it is "pypi.example.com/simple"); for example: pulumi config set --path synapse.indexUrl https://pypi.example.com/simple/',
  ],
  [
    "an index with a password, in a URL that is not right",
    { synapse: { indexUrl: "ftp://me:Zaeng7ieg@pypi.example.com/" } },
    "synapse.indexUrl must be an http or https URL; for example: pulumi config set --path synapse.indexUrl https://pypi.example.com/simple/",
  ],
  [
    "yes for true",
    { synapse: { buildFromSource: "yes" } },
    'synapse.buildFromSource must be true or false, not a text (it is "yes"); for example: pulumi config set --path synapse.buildFromSource true',
  ],
  [
    "an unknown level",
    { synapse: { logLevel: "info" } },
    'synapse.logLevel must be one of DEBUG, INFO, WARNING, ERROR (it is "info"); for example: pulumi config set --path synapse.logLevel INFO',
  ],
  // TLS
  [
    "an unknown mode",
    { tls: { mode: "letsencrypt" } },
    'tls.mode must be one of selfsigned, provided, acme (it is "letsencrypt"); for example: pulumi config set --path tls.mode acme',
  ],
  [
    "the mode for the object",
    { tls: "acme" },
    "tls must be an object with keys; write: pulumi config set --path tls.mode acme",
  ],
  [
    "the key for the object",
    { tls: made.server.key },
    "tls must be an object with keys; write: pulumi config set --path tls.mode acme",
  ],
  [
    "nothing provided",
    { tls: { mode: "provided" } },
    `tls.certificate is missing, and tls.mode is provided; ${SET_CERTIFICATE}`,
    `tls.key is missing, and tls.mode is provided; ${SET_KEY}`,
  ],
  [
    "a certificate without the mode",
    { tls: { ...provided, mode: undefined } },
    "tls.certificate has no effect while tls.mode is selfsigned; write: pulumi config set --path tls.mode provided",
    "tls.key has no effect while tls.mode is selfsigned; write: pulumi config set --path tls.mode provided",
  ],
  [
    "a certificate's path",
    { tls: { ...provided, certificate: "/etc/fullchain.pem" } },
    `tls.certificate must be in PEM format, with a line "-----BEGIN CERTIFICATE-----"; ${SET_CERTIFICATE}`,
  ],
  [
    "a certificate cut off",
    { tls: { ...provided, certificate: made.server.certificate.replace(/\n.*\n-----END/, "\n-----END") } },
    `tls.certificate cannot be read: the certificate is cut off or changed; ${SET_CERTIFICATE}`,
  ],
  [
    "the key with the certificate",
    { tls: { ...provided, certificate: `${fullChain}\n${made.server.key}` } },
    `tls.certificate has a private key in it: only certificates belong here; ${SET_CERTIFICATE}`,
  ],
  [
    "the authority first",
    { tls: { ...provided, certificate: `${made.intermediate.certificate}\n${made.server.certificate}` } },
    `tls.certificate begins with the authority "Test Intermediate": the server's own certificate must come first; ${SET_CERTIFICATE}`,
  ],
  [
    "the chain out of order",
    {
      tls: {
        ...provided,
        certificate: `${made.server.certificate}\n${made.root.certificate}\n${made.intermediate.certificate}`,
      },
    },
    `tls.certificate is not in order: "Test Intermediate" must follow "server", which it signed; ${SET_CERTIFICATE}`,
  ],
  [
    "another's chain",
    { tls: { ...provided, certificate: `${made.server.certificate}\n${made.root.certificate}` } },
    `tls.certificate is no chain: "Test Root" did not sign "server", which stands before it; ${SET_CERTIFICATE}`,
  ],
  [
    "a name not covered",
    { tls: provided, domains: ["chat.example.com", "matrix.example.com"] },
    `tls.certificate is not good for chat.example.com: it names example.com, matrix.example.com, synapse.example.com; ${SET_CERTIFICATE}`,
  ],
  [
    "a wildcard two levels up",
    {
      tls: {
        ...provided,
        certificate: `${made.wildcard.certificate}\n${made.intermediate.certificate}`,
        key: made.wildcard.key,
      },
      domains: ["a.b.example.com"],
    },
    `tls.certificate is not good for a.b.example.com: it names example.com, *.example.com; ${SET_CERTIFICATE}`,
  ],
  [
    "another's key",
    { tls: { ...provided, key: made.wildcard.key } },
    `tls.key does not belong to tls.certificate: it is the key of another; ${SET_KEY}`,
  ],
  [
    "a key's path",
    { tls: { ...provided, key: "/etc/privkey.pem" } },
    `tls.key must be in PEM format, with a line "-----BEGIN PRIVATE KEY-----"; ${SET_KEY}`,
  ],
  [
    "an encrypted key",
    { tls: { ...provided, key: made.encryptedKey } },
    `tls.key has a passphrase, which nobody could type in on the machine: take it away with openssl pkey -in FILE -out PLAIN; ${SET_KEY}`,
  ],
  [
    "a weak key",
    { tls: { ...provided, key: made.weakKey } },
    `tls.key has 1024 bits: OpenSSL refuses RSA keys of less than 2048; ${SET_KEY}`,
  ],
  [
    "a key cut off",
    { tls: { ...provided, key: made.server.key.replace(/\n.*\n-----END/, "\n-----END") } },
    `tls.key cannot be read: it is cut off or changed; ${SET_KEY}`,
  ],
  ["no email for ACME", { tls: { mode: "acme" } }, `tls.acmeEmail is missing, and tls.mode is acme; ${SET_EMAIL}`],
  [
    "no email address",
    { tls: { mode: "acme", acmeEmail: "mailto:me@example.org" } },
    `tls.acmeEmail must be the address alone, with no mailto: in front of it; ${SET_EMAIL}`,
  ],
  [
    "an email address without a domain",
    { tls: { mode: "acme", acmeEmail: "root@localhost" } },
    `tls.acmeEmail must be an email address (it is "root@localhost"); ${SET_EMAIL}`,
  ],
  [
    "the documentation's address",
    { tls: { mode: "acme", acmeEmail: "me@example.com" } },
    `tls.acmeEmail must be an address of yours: Let's Encrypt refuses those of example.com; ${SET_EMAIL}`,
  ],
  [
    "a directory over HTTP",
    { tls: { mode: "acme", acmeEmail: "me@chat.org", acmeDirectory: "http://ca.lan/dir" } },
    'tls.acmeDirectory must be an https URL, that of an ACME directory (it is "http://ca.lan/dir"); for example: pulumi config set --path tls.acmeDirectory https://acme-staging-v02.api.letsencrypt.org/directory',
  ],
  [
    "Let's Encrypt for a private name",
    { serverName: "chat.lan", tls: { mode: "acme", acmeEmail: "me@chat.org" } },
    "tls.mode is acme, and Let's Encrypt has no certificates for matrix.chat.lan, synapse.chat.lan, chat.lan, which are not in the public DNS; write: pulumi config set --path tls.mode selfsigned; or name your own ACME server in tls.acmeDirectory",
  ],
  [
    "ACME's settings without it",
    { tls: { acmeEmail: "me@chat.org" } },
    "tls.acmeEmail has no effect while tls.mode is selfsigned; write: pulumi config set --path tls.mode acme",
  ],
  // nginx
  [
    "a proxy where nobody answers",
    { nginx: { apexProxy: true, apexSite: "external" } },
    "nginx.apexProxy needs nginx.apexSite serve, and it is external: this nginx does not answer for serverName; write: pulumi config set --path nginx.apexProxy false",
  ],
  [
    "another site for a domain",
    { nginx: { apexSite: "snippet" }, domains: ["example.com"] },
    "nginx.apexSite must be serve, because domains has example.com, which this nginx then answers for; write: pulumi config set --path nginx.apexSite serve",
  ],
  [
    "no network",
    { nginx: { adminNetworks: ["10.0.0.0/8", "office"] } },
    `nginx.adminNetworks[1] must be an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32 (it is "office"); ${SET_NETWORK}`,
  ],
  [
    "a prefix too long",
    { nginx: { adminNetworks: ["10.0.0.0/33"] } },
    `nginx.adminNetworks[0] must have a prefix length from 0 to 32 behind the slash (it is "10.0.0.0/33"); ${SET_NETWORK}`,
  ],
  // The database
  [
    "no database server",
    { database: { port: 5432 } },
    `database.host is missing (host name or IP address of the PostgreSQL server); ${SET_DB_HOST}`,
  ],
  [
    "a database URL with a password",
    { database: { host: "postgresql://synapse:Zaeng7ieg@db/synapse" } },
    `database.host must be a host name or an IP address, not a URL; ${SET_DB_HOST}`,
  ],
  [
    "a socket",
    { database: { host: "/run/postgresql" } },
    `database.host must be a host name or an IP address, not the path of a socket (it is "/run/postgresql"); ${SET_DB_HOST}`,
  ],
  [
    "one of PostgreSQL's own",
    { database: { host: "db", name: "postgres" } },
    'database.name must be a name of PostgreSQL\'s, lower-case letters, digits and underscores, and not one of its own databases (it is "postgres"); for example: pulumi config set --path database.name synapse',
  ],
  [
    "no encryption",
    { database: { host: "db", tlsMode: "disable" } },
    'database.tlsMode must be one of require, verify-ca, verify-full (it is "disable"); for example: pulumi config set --path database.tlsMode verify-ca',
  ],
  [
    "an authority nobody looks at",
    { database: { host: "db", tlsMode: "require", ca: made.root.certificate } },
    "database.ca has no effect while database.tlsMode is require; write: pulumi config set --path database.tlsMode verify-full",
  ],
  // Names that are no settings
  [
    "server_name",
    { server_name: "x" },
    "server_name is not a setting; did you mean serverName? It is set with: pulumi config set serverName example.com; take it away with: pulumi config rm server_name",
  ],
  [
    "domain",
    { domain: "x" },
    "domain is not a setting; did you mean serverName? It is set with: pulumi config set serverName example.com; take it away with: pulumi config rm domain",
  ],
  [
    "postgresPassword",
    { postgresPassword: "x" },
    `postgresPassword is not a setting; did you mean dbPassword? It is set with: ${SET_PASSWORD}; take it away with: pulumi config rm postgresPassword`,
  ],
  [
    "letsencrypt",
    { letsencrypt: "true" },
    "letsencrypt is not a setting; did you mean tls.mode? It is set with: pulumi config set --path tls.mode acme; take it away with: pulumi config rm letsencrypt",
  ],
  [
    "a slip",
    { ngnix: {}, domians: ["x"] },
    "domians is not a setting; did you mean domains? It is set with: pulumi config set --path 'domains[0]' matrix.example.com; take it away with: pulumi config rm domians",
  ],
  [
    "a setting of another object",
    { tls: { hsts: true } },
    "tls.hsts is not a setting; did you mean nginx.hsts? It is set with: pulumi config set --path nginx.hsts true; take it away with: pulumi config rm --path tls.hsts",
  ],
  [
    "a slip in an object",
    { host: { ...host, adress: "x" } },
    "host.adress is not a setting; did you mean host.address? It is set with: pulumi config set --path host.address 203.0.113.10; take it away with: pulumi config rm --path host.adress",
  ],
  [
    "a setting of Synapse's",
    { max_upload_size: "100M" },
    "max_upload_size is not a setting; did you mean homeserver.max_upload_size? It is set with: pulumi config set --path homeserver.max_upload_size 100M; take it away with: pulumi config rm max_upload_size",
  ],
  [
    "a path without --path",
    { "host.port": "22" },
    "host.port was set without --path and so has no effect; take it away with: pulumi config rm host.port; and set: pulumi config set --path host.port 2222",
  ],
  [
    "nothing like a setting",
    { frobnicate: "x" },
    "frobnicate is not a setting; there are serverName, domains, dbPassword, host, admin, synapse, workers, tls, nginx, database, adopt, backup, rotate, purge, reconcile, homeserver; take it away with: pulumi config rm frobnicate",
  ],
  [
    "a word of a repair that a shell could take for something else",
    { reconcile: { "nginx-site": "now; reboot" } },
    'reconcile.nginx-site must be at most 40 letters, digits and :.+_-, such as the time of the repair (it is "now; reboot"); for example: pulumi config set --path reconcile.nginx-site 2026-11-25T02:30:00Z',
  ],
  [
    "what every object has",
    { nginx: { constructor: "x" } },
    "nginx.constructor is not a setting; there are nginx.apexProxy, nginx.apexSite, nginx.hsts, nginx.adminNetworks, nginx.federationPort; take it away with: pulumi config rm --path nginx.constructor",
  ],
  // homeserver.yaml
  [
    "a text for homeserver",
    { homeserver: "max_upload_size: 100M" },
    "homeserver must be an object with keys; write: pulumi config set --path homeserver.max_upload_size 100M",
  ],
  ["the name", { homeserver: { server_name: "x" } }, "homeserver.server_name is set by the program: set serverName"],
  [
    "a key path",
    { homeserver: { macaroon_secret_key_path: "x" } },
    "homeserver.macaroon_secret_key_path is set by the program: the program makes this secret and keeps it in the stack",
  ],
  [
    "a slip in Synapse's",
    { homeserver: { enable_registratoin: true } },
    "homeserver.enable_registratoin is no setting of Synapse; did you mean enable_registration? (If a newer Synapse has it, add enable_registratoin to synapse.newSettings)",
  ],
  [
    "a slip inside",
    { homeserver: { email: { smtp_hots: "mail" } } },
    "homeserver.email.smtp_hots is no setting of Synapse; did you mean email.smtp_host? (If a newer Synapse has it, add email.smtp_hots to synapse.newSettings)",
  ],
  [
    "a slip deeper inside",
    { homeserver: { rc_login: { address: { burst: 3 } } } },
    "homeserver.rc_login.address.burst is no setting of Synapse (If a newer Synapse has it, add rc_login.address.burst to synapse.newSettings)",
  ],
  [
    "what every object has",
    { homeserver: { constructor: 1 } },
    "homeserver.constructor is no setting of Synapse (If a newer Synapse has it, add constructor to synapse.newSettings)",
  ],
  [
    "a text for a boolean",
    { homeserver: { enable_metrics: "yes" } },
    "homeserver.enable_metrics must be true or false, not a text",
  ],
  [
    "no duration",
    { homeserver: { session_lifetime: "5 minutes" } },
    "homeserver.session_lifetime must be a duration such as 30s, 5m, 12h, 7d, 4w or 1y, not a text",
  ],
  [
    "a size of its own",
    { homeserver: { max_upload_size: "100 MB" } },
    "homeserver.max_upload_size must be a number of bytes, or one with K, M or G behind it such as 100M, not a text",
  ],
  [
    "a size that nginx does not know",
    { homeserver: { max_upload_size: "1T" } },
    "homeserver.max_upload_size is more than nginx can be told: write it with K, M or G",
  ],
  [
    "registration for all",
    { homeserver: { enable_registration: true } },
    "homeserver.enable_registration would let anybody register unchecked, which Synapse refuses: set homeserver.registration_requires_token, homeserver.enable_registration_captcha or homeserver.registrations_require_3pid as well",
  ],
  [
    "a secret twice",
    { homeserver: { turn_shared_secret: "a", turn_shared_secret_path: "/b" } },
    "homeserver.turn_shared_secret and homeserver.turn_shared_secret_path exclude each other",
  ],
];

describe("a bad stack file", () => {
  for (const [what, change, ...problems] of BAD) {
    test(what, () => {
      expect(problemsOf({ ...minimal, ...change })).toEqual(problems);
    });
  }

  test("every problem is found at once, those between settings too", () => {
    const problems = problemsOf({
      server_name: "example.com",
      dbPassword: "password",
      host: { address: "https://203.0.113.10", port: 70000 },
      admin: { localpart: "Alice" },
      synapse: { logLevel: "LOUD" },
      tls: { mode: "provided", acmeEmail: "me" },
      nginx: { apexProxy: true, apexSite: "external", adminNetworks: ["x"] },
      database: {},
      homeserver: { listeners: [], enable_metrics: 1, frobnicate: 2 },
    });
    expect(problems.map((problem) => problem.split(" ")[0])).toEqual([
      "server_name",
      "serverName",
      "dbPassword",
      "host.address",
      "host.port",
      "host.hostKey",
      "admin.localpart",
      "synapse.logLevel",
      "tls.acmeEmail",
      "nginx.adminNetworks[0]",
      "tls.certificate",
      "tls.key",
      "tls.acmeEmail",
      "nginx.apexProxy",
      "homeserver.listeners",
      "homeserver.enable_metrics",
      "homeserver.frobnicate",
    ]);
  });

  test("a certificate is looked at on the day of the preview", () => {
    const stack = { ...minimal, tls: provided };
    const inDays = (days: number) => new Date(Date.now() + days * DAY);
    const end = inDays(90).toISOString().slice(0, 10);
    const expired = `tls.certificate has expired: "server" was good until ${end}; ${SET_CERTIFICATE}`;
    expect(problemsOf(stack, undefined, inDays(91))).toContain(expired);
    expect(problemsOf(stack, undefined, inDays(-1))).toContainEqual(
      expect.stringMatching(/^tls\.certificate is not good yet: "server" begins on \d{4}-\d\d-\d\d; /),
    );
    const soon = parse(stack, undefined, inDays(80));
    expect(soon).toMatchObject({
      warnings: [`tls.certificate expires on ${end} (9 days from now): renew it, and set it and its key again`],
    });
    expect(parse(stack, undefined, inDays(60))).toMatchObject({ warnings: [] });
  });
});

describe("plain text where a secret is due", () => {
  const nothing = new Set<string>();

  test.each<[string, Stack, string]>([
    ["dbPassword", {}, `dbPassword is in the stack file as plain text: encrypt it with: ${SET_PASSWORD}`],
    [
      "tls.key",
      { tls: provided },
      "tls.key is in the stack file as plain text: encrypt it with: pulumi config set --path --secret tls.key < privkey.pem",
    ],
    [
      "admin.password",
      { admin: { password: PASSWORD } },
      `admin.password is in the stack file as plain text: encrypt it with: ${SET_ADMIN_PASSWORD}`,
    ],
  ])("%s", (_name, change, problem) => {
    expect(problemsOf({ ...minimal, ...change }, nothing)).toContain(problem);
  });

  test("a secret of homeserver.yaml's is only warned of", () => {
    const homeserver = { email: { smtp_pass: PASSWORD }, turn_shared_secret: PASSWORD, form: undefined };
    expect(parse({ ...minimal, homeserver })).toMatchObject({
      warnings: [
        "homeserver.email.smtp_pass looks like a secret and is in the stack file as plain text: encrypt it with: pulumi config set --path --secret homeserver.email.smtp_pass",
        "homeserver.turn_shared_secret looks like a secret and is in the stack file as plain text: encrypt it with: pulumi config set --path --secret homeserver.turn_shared_secret",
      ],
      settings: { homeserverIsSecret: false },
    });
    expect(parse({ ...minimal, homeserver }, new Set(["dbPassword", "homeserver"]))).toMatchObject({
      warnings: [],
      settings: { homeserverIsSecret: true },
    });
  });
});

describe("no message has a secret in it", () => {
  const MARK = "zQ9secretzQ9";
  const paths = leaves().map(([path]) => path);
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      MARK,
      `${MARK}\r\n`,
      ` ${MARK}`,
      [MARK],
      { [`x`]: MARK },
      `https://me:${MARK}@x`,
      `[${MARK}]`,
    ),
    fc.constantFrom<unknown>(`-----BEGIN PRIVATE KEY-----\n${MARK}\n-----END PRIVATE KEY-----`, `${MARK}.Example.com`),
    fc.constantFrom<unknown>(`-----BEGIN CERTIFICATE-----\n${MARK}\n-----END CERTIFICATE-----`, `${MARK}:22`),
  );

  test("when the machine is encrypted, and a command to look at it is shown", () => {
    const stack = { ...minimal, host: { ...host, address: "chat.secret.example", hostKey: "no key" } };
    const result = parse(stack, new Set(["host", "dbPassword"]));
    const said = "problems" in result ? result.problems.join("\n") : "";
    expect(said).toContain("ssh-keyscan -t ed25519 ADDRESS");
    expect(said).not.toContain("chat.secret.example");
  });

  test("when all of the stack is encrypted", () => {
    const every = new Set(paths.map(([name]) => name ?? ""));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...paths), value), { minLength: 1, maxLength: 6 }), (changes) => {
        const stack: Record<string, unknown> = { ...minimal };
        for (const [[name = "", key], wrong] of changes)
          stack[name] = key === undefined ? wrong : { ...(stack[name] as object | undefined), [key]: wrong };
        const result = parse(stack, every);
        const said = "problems" in result ? result.problems : result.warnings;
        expect(said.join("\n").toLowerCase()).not.toContain(MARK.toLowerCase());
      }),
      { numRuns: 300 },
    );
  });

  test("when what has to be encrypted is not", () => {
    for (const [path, schema] of leaves().filter(([, schema]) => metaOf(schema).secret === true)) {
      const [name = "", key] = path;
      for (const wrong of [MARK, { x: MARK }, [MARK], ` ${MARK}`, `x${MARK}-----`]) {
        const stack = { ...minimal, [name]: key === undefined ? wrong : { [key]: wrong } };
        expect(problemsOf(stack, new Set()).join("\n")).not.toContain(MARK);
      }
      expect(metaOf(schema).command).toContain("--secret");
    }
    for (const name of ["tls", "admin", "homeserver"])
      expect(problemsOf({ ...minimal, [name]: MARK.toLowerCase() }, new Set()).join("\n")).not.toContain(
        MARK.toLowerCase(),
      );
  });
});

describe("a good stack file", () => {
  test("the least", async () => {
    const { dbPassword, ...settings } = settingsOf(minimal, new Set(["dbPassword"]));
    expect(settings).toMatchObject({
      serverName: "example.com",
      domains: ["matrix.example.com", "synapse.example.com"],
      servedNames: ["matrix.example.com", "synapse.example.com", "example.com"],
      host: { address: "203.0.113.10", port: 22, user: "root", hostKey: HOST_KEY },
      admin: { localpart: "admin" },
      synapse: { buildFromSource: false, logLevel: "WARNING", newSettings: [] },
      tls: { mode: "selfsigned" },
      nginx: { apexProxy: false, apexSite: "serve", hsts: false, adminNetworks: [], federationPort: false },
      homeserver: {},
      homeserverIsSecret: false,
    });
    expect(settings.database).toBeUndefined();
    expect(await pulumi.isSecret(dbPassword)).toBe(true);
  });

  test("what Pulumi.yaml gives to a setting that the stack does not have counts as not set", () => {
    const empty = { domains: [], admin: {}, synapse: {}, tls: {}, nginx: {}, database: {}, homeserver: {} };
    expect(settingsOf({ ...empty, ...minimal })).toMatchObject({
      domains: ["matrix.example.com", "synapse.example.com"],
    });
    expect(settingsOf({ ...empty, ...minimal }).database).toBeUndefined();
  });

  test("everything", async () => {
    const settings = settingsOf({
      serverName: "example.com",
      domains: ["matrix.example.com"],
      dbPassword: 'correct horse: "battery" \\staple$',
      host: { ...host, port: 2222, user: "cloud-user", privateKeyFile: goodKeyFile },
      admin: { localpart: "alice", password: PASSWORD },
      synapse: {
        indexUrl: "http://198.51.100.1:8080/simple/",
        buildFromSource: true,
        logLevel: "INFO",
        newSettings: ["brand_new", "email.brand_new"],
      },
      tls: {
        ...provided,
        certificate: fullChain.replaceAll("\n", "\r\n"),
        key: `${made.server.key.replaceAll("\n", "\r\n")}\r\n`,
      },
      nginx: {
        apexSite: "external",
        hsts: true,
        adminNetworks: ["192.0.2.0/24", "2001:db8::/32", "203.0.113.7"],
        federationPort: true,
      },
      database: { host: "db.example.com", tlsMode: "verify-ca", ca: made.root.certificate },
      homeserver: {
        brand_new: { whatever: 1 },
        email: { brand_new: true, smtp_host: "mail.example.com", smtp_port: 587 },
        enable_registration: true,
        registration_requires_token: true,
        experimental_features: { msc3266_enabled: true },
        max_upload_size: "100M",
        rc_login: { address: { per_second: 0.15, burst_count: 5 } },
        session_lifetime: "24h",
      },
    });
    expect(settings).toMatchObject({
      servedNames: ["matrix.example.com"],
      database: {
        address: { host: "db.example.com", port: 5432, name: "synapse", user: "synapse", sslMode: "verify-ca" },
      },
      host: { privateKeyFile: goodKeyFile },
      tls: { mode: "provided", certificate: `${fullChain}\n` },
    });
    const { admin, tls } = settings;
    if (tls.mode !== "provided" || admin.password === undefined) throw new Error("not what was given");
    expect(await pulumi.isSecret(admin.password)).toBe(true);
    expect(await pulumi.isSecret(pulumi.output(tls.key))).toBe(true);
    const key = await new Promise((resolve) => pulumi.output(tls.key).apply(resolve));
    expect(key).toBe(`${made.server.key}\n`);
    expect(readKeyFile(goodKeyFile)).toBe(made.server.key);
  });

  test("ACME, from Let's Encrypt and from a server of one's own", () => {
    expect(
      settingsOf({ ...minimal, serverName: "chat.org", tls: { mode: "acme", acmeEmail: "me@chat.org" } }).tls,
    ).toEqual({
      mode: "acme",
      email: "me@chat.org",
      directory: "https://acme-v02.api.letsencrypt.org/directory",
    });
    const own = {
      mode: "acme",
      acmeEmail: "me@example.com",
      acmeDirectory: "https://ca.lan:14000/dir",
      ca: made.root.certificate,
    };
    expect(settingsOf({ ...minimal, serverName: "chat.lan", tls: own }).tls).toEqual({
      mode: "acme",
      email: "me@example.com",
      directory: "https://ca.lan:14000/dir",
      ca: `${made.root.certificate}\n`,
    });
  });

  test.each<[string, Stack]>([
    ["blanks and Windows line ends around a text", { serverName: " example.com\r\n" }],
    ["a number in quotes", { host: { ...host, port: "22" } }],
    ["true in quotes", { nginx: { hsts: "true", federationPort: "False" } }],
    ["the server's name among the domains", { domains: ["example.com", "matrix.example.com"] }],
    ["this machine itself", { host: { ...host, address: "127.0.0.1" } }],
    ["an IPv6 address", { host: { ...host, address: "2001:db8::1" } }],
    ["a comment behind the host key", { host: { ...host, hostKey: `${HOST_KEY} root@chat` } }],
    ["a name in its ASCII form", { serverName: "xn--bcher-kva.example" }],
    [
      "a wildcard certificate",
      {
        tls: {
          ...provided,
          certificate: `${made.wildcard.certificate}\n${made.intermediate.certificate}`,
          key: made.wildcard.key,
        },
      },
    ],
    [
      "a certificate for the domains alone, where another machine serves the name",
      {
        domains: ["other.org"],
        nginx: { apexSite: "external" },
        tls: { mode: "provided", certificate: made.selfSigned.certificate, key: made.selfSigned.key },
      },
    ],
    [
      "the root at the end of the chain",
      { tls: { ...provided, certificate: `${fullChain}\n${made.root.certificate}` } },
    ],
  ])("%s is as good", (_what, change) => {
    expect(parse({ ...minimal, ...change })).toMatchObject({ warnings: [] });
  });

  test("what works today but not well is warned of", () => {
    expect(parse({ ...minimal, tls: { ...provided, certificate: made.server.certificate } })).toMatchObject({
      warnings: [
        expect.stringMatching(/^tls\.certificate has no chain: without the certificate of "Test Intermediate"/),
      ],
    });
    expect(parse({ ...minimal, nginx: { adminNetworks: ["0.0.0.0/0"] } })).toMatchObject({
      warnings: [
        "nginx.adminNetworks[0] lets the whole internet reach Synapse's admin API: name the networks that need it",
      ],
    });
  });

  test("a file that may not be read is said to be so", () => {
    chmodSync(lockedKeyFile, 0o000);
    // Root may read anything.
    const [problem = ""] = problemsOf({ ...minimal, host: { ...host, privateKeyFile: lockedKeyFile } });
    expect(problem).toMatch(/^host\.privateKeyFile (cannot be read|has a passphrase)/);
  });
});

describe("readSettings", () => {
  const project = "matrix-homeserver";
  const set = (stack: Stack, secretKeys: string[]) => {
    const config = { ...encode(stack), "elsewhere:serverName": "ignored" };
    pulumi.runtime.setAllConfig(
      Object.fromEntries(
        Object.entries(config).map(([key, value]) => [key.includes(":") ? key : `${project}:${key}`, value]),
      ),
      secretKeys.map((name) => `${project}:${name}`),
    );
  };
  beforeEach(async () => {
    await pulumi.runtime.setMocks({ newResource: () => ({ id: "", state: {} }), call: () => ({}) }, project, "test");
  });

  test("takes what the stack has in the project's name", () => {
    set(minimal, ["dbPassword"]);
    expect(readSettings()).toMatchObject({ serverName: "example.com", homeserverIsSecret: false });
  });

  test("a part that is encrypted makes its whole setting a secret one", () => {
    set({ ...minimal, homeserver: { email: { smtp_pass: PASSWORD } } }, ["dbPassword", "homeserver"]);
    expect(readSettings().homeserverIsSecret).toBe(true);
  });

  test("throws one error with all that is wrong", () => {
    set({ ...minimal, server_name: "example.com" }, []);
    expect(readSettings).toThrow(
      [
        "2 things in the settings of the stack test are not right:",
        "  server_name is not a setting; did you mean serverName? It is set with: pulumi config set serverName example.com; take it away with: pulumi config rm server_name",
        `  dbPassword is in the stack file as plain text: encrypt it with: ${SET_PASSWORD}`,
        "docs/settings.md describes every setting.",
      ].join("\n"),
    );
  });

  test("says what will be wrong soon at every preview", () => {
    const warn = jest.spyOn(pulumi.log, "warn").mockResolvedValue();
    set({ ...minimal, nginx: { adminNetworks: ["::/0"] } }, ["dbPassword"]);
    readSettings();
    expect(warn).toHaveBeenCalledWith(
      "nginx.adminNetworks[0] lets the whole internet reach Synapse's admin API: name the networks that need it",
    );
    warn.mockRestore();
  });
});

describe("workers", () => {
  const NONE = { generic: 0, federationSender: 0, pusher: 0, media: 0, backgroundTasks: 0 };
  const said = (workers: unknown, change: Stack = {}) => problemsOf({ ...minimal, workers, ...change });

  it("are none unless they are set", () => {
    expect(settingsOf(minimal).workers).toEqual(NONE);
    expect(settingsOf({ ...minimal, workers: { generic: 2, media: 1 } }).workers).toEqual({
      ...NONE,
      generic: 2,
      media: 1,
    });
    expect(said({ generic: 0 }, { synapse: { version: "1.141.0" }, homeserver: { redis: { enabled: true } } })).toEqual(
      [],
    );
  });

  it.each([
    ["generic", -1, "workers.generic must be at least 0"],
    ["generic", 9, "workers.generic must be at most 8"],
    ["media", 2, "workers.media must be at most 1"],
    ["backgroundTasks", 2, "workers.backgroundTasks must be at most 1"],
    ["pusher", 1.5, "workers.pusher must be a whole number"],
    ["federationReader", 1, "workers.federationReader is not a setting"],
  ])("%s = %j is refused", (name, count, sentence) => {
    const [problem = "", ...more] = said({ [name]: count });
    expect(problem).toContain(sentence);
    expect(more).toEqual([]);
  });

  it("are no more than the database has connections for", () => {
    expect(said({ generic: 6, federationSender: 3 })).toEqual([
      "workers are 9 in all, and must be at most 8: each has up to 10 of PostgreSQL's 100 connections; write for example: pulumi config set --path workers.generic 2",
    ]);
  });

  it("need a release whose lock has what Redis takes", () => {
    expect(said({ generic: 1 }, { synapse: { version: "1.162.0" } })).toEqual([
      "workers need Synapse 1.163.0 or newer, and synapse.version is 1.162.0: set a newer release, or take the workers away with: pulumi config rm workers",
    ]);
  });

  it("leave to the program what says which process does what", () => {
    expect(said({ generic: 1 }, { homeserver: { redis: { enabled: true }, start_pushers: false } })).toEqual([
      "homeserver.redis is set by the program where there are workers: set workers",
      "homeserver.start_pushers is set by the program where there are workers: set workers",
    ]);
  });

  it("are told by their memory when they are many", () => {
    expect(parse({ ...minimal, workers: { generic: 3 } })).toMatchObject({ warnings: [] });
    expect(parse({ ...minimal, workers: { generic: 4 } })).toMatchObject({
      warnings: [
        "workers are 4 processes, which take some 520 MB of memory when they start, besides Synapse's own, and more in use: the machine has to have it",
      ],
    });
  });
});

describe("adopt", () => {
  const adopt = {
    unit: "matrix-synapse",
    environment: "/opt/synapse/env",
    signingKey: "/opt/synapse/example.com.signing.key",
    mediaStore: "/opt/synapse/media_store",
  };

  it("is nothing unless it is set, and whole then", () => {
    expect(settingsOf(minimal).adopt).toBeUndefined();
    expect(settingsOf({ ...minimal, adopt }).adopt).toEqual({ ...adopt, nginxFiles: [] });
    expect(problemsOf({ ...minimal, adopt: { ...adopt, unit: undefined } })).toEqual([
      "adopt.unit is missing (its systemd unit, without .service); for example: pulumi config set --path adopt.unit matrix-synapse",
    ]);
  });

  it.each([
    ["unit", "a b", "must be the name of a systemd unit, without .service"],
    ["environment", "env", "must be an absolute path"],
    ["signingKey", "/opt/../key", "must be an absolute path"],
    ["mediaStore", "/media/", "must be an absolute path"],
    ["sqlite", "homeserver.db", "must be an absolute path"],
    ["nginxFiles", ["conf.d/matrix.conf"], "must be an absolute path"],
  ])("refuses %s %s", (name, value, sentence) => {
    const [problem, ...more] = problemsOf({ ...minimal, adopt: { ...adopt, [name]: value } });
    expect(more).toEqual([]);
    expect(problem).toContain(`adopt.${name}`);
    expect(problem).toContain(sentence);
  });
});

describe("rotate", () => {
  test("is nothing unless it is set, and any text", () => {
    expect(settingsOf(minimal).rotate).toEqual({});
    expect(settingsOf({ ...minimal, rotate: { formSecret: " after the leak " } }).rotate).toEqual({
      formSecret: "after the leak",
    });
  });

  test.each([
    ["formSecret", "one\ntwo", "rotate.formSecret must be a text of one line, such as a date"],
    ["macaroonSecret", 2, "rotate.macaroonSecret must be a text, not a number: put it in quotes"],
    ["signingKey", "now", "rotate.signingKey is not a setting"],
  ])("refuses %s %j", (name, text, sentence) => {
    const [problem = "", ...more] = problemsOf({ ...minimal, rotate: { [name]: text } });
    expect(more).toEqual([]);
    expect(problem).toContain(sentence);
  });
});

describe("backup", () => {
  const SET_RECIPIENT = "gpg --armor --export backup@example.com | pulumi config set --path backup.recipient";
  const said = (backup: unknown) => problemsOf({ ...minimal, backup });

  test("is nothing unless it is set, and needs no more than a key", () => {
    expect(settingsOf(minimal).backup).toBeUndefined();
    expect(settingsOf({ ...minimal, backup: { recipient: PUBLIC_KEY } }).backup).toEqual({
      recipient: PUBLIC_KEY,
      directory: "/var/backups/matrix-homeserver",
      schedule: "*-*-* 03:30:00",
      keep: 14,
      warnAfterHours: 50,
    });
  });

  const s3 = { endpoint: "https://s3.example.com", bucket: "backups", accessKeyId: "id", secretAccessKey: "a+b/c=" };
  test("go to a store that is named, for a key that is encrypted", () => {
    const stack = { ...minimal, backup: { recipient: PUBLIC_KEY, s3 } };
    expect(settingsOf(stack).backup?.s3).toEqual({ ...s3, region: "us-east-1" });
    expect(problemsOf(stack, new Set(["dbPassword"]))).toEqual([
      expect.stringMatching(
        /^backup\.s3\.secretAccessKey is in the stack file as plain text: encrypt it with: pulumi config set --path --secret /,
      ),
    ]);
  });

  test.each([
    ["endpoint", "http://s3.example.com", "must be the https URL of the store alone"],
    ["endpoint", "https://s3.example.com/backups", "must be the https URL of the store alone"],
    ["endpoint", undefined, "is missing"],
    ["bucket", "B", "must be the name of a bucket"],
    ["prefix", "/backups", "with a slash between parts and none at the ends"],
    ["prefix", "a b", "with a slash between parts and none at the ends"],
    ["region", "EU West", "must be lower-case letters, digits and hyphens"],
    ["accessKeyId", "an id", "must be letters, digits"],
    ["secretAccessKey", "$HOME", "must be letters, digits"],
    ["secretAccessKey", undefined, "is missing"],
    ["keep", -1, "must be at least 0"],
    ["ca", "a certificate", "-----BEGIN CERTIFICATE-----"],
  ])("refuses a store with %s %j", (name, value, sentence) => {
    const [problem = "", ...more] = said({ recipient: PUBLIC_KEY, s3: { ...s3, [name]: value } });
    expect(more).toEqual([]);
    expect(problem).toMatch(new RegExp(`^backup\\.s3\\.${name} `));
    expect(problem).toContain(sentence);
  });

  const noChecksum = PUBLIC_KEY.replace(/\n=[^\n]{4}\n/, "\n");
  test.each([
    ["with a comment", PUBLIC_KEY.replace("BLOCK-----\n", "BLOCK-----\nComment: mine\n")],
    ["from Windows", PUBLIC_KEY.replaceAll("\n", "\r\n")],
    ["with an empty line behind it", `${PUBLIC_KEY}\n\n`],
    ["without a checksum", noChecksum],
  ])("takes a key %s", (_what, recipient) => {
    expect(said({ recipient })).toEqual([]);
  });

  const PRIVATE = PUBLIC_KEY.replaceAll("PUBLIC KEY", "PRIVATE KEY");
  test.each([
    ["none", undefined, "is missing"],
    ["a private key", PRIVATE, "must be the public key; the private one stays with you"],
    ["both", `${PUBLIC_KEY}\n${PRIVATE}`, "must be the public key"],
    ["half of it", PUBLIC_KEY.slice(0, 300), "must begin with -----BEGIN PGP PUBLIC KEY BLOCK-----"],
    ["a line less", PUBLIC_KEY.replace(/\n.*\n(?==)/, "\n"), "is not a whole key: some of it is missing or changed"],
    ["a letter that is another", PUBLIC_KEY.replace("mQGN", "mQGM"), "is not a whole key"],
    ["no empty line", PUBLIC_KEY.replace("\n\n", "\n"), "is not a whole key"],
    ["two keys", `${PUBLIC_KEY}\n${PUBLIC_KEY}`, "must be one key"],
    ["a message", "-----BEGIN PGP MESSAGE-----\n\nabcd\n-----END PGP MESSAGE-----", "another kind of OpenPGP's texts"],
    ["an address", "backup@example.com", "must be the key itself, ASCII-armoured"],
    ["a fingerprint", "0123456789ABCDEF0123456789ABCDEF01234567", "must be the key itself, ASCII-armoured"],
    ["an SSH key", HOST_KEY, "must be an OpenPGP public key, of gpg's making"],
    ["age's key", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "must be an OpenPGP public key"],
  ])("refuses %s for a key, and repeats none of it", (_what, recipient, sentence) => {
    const [problem = "", ...more] = said({ recipient, keep: 1 });
    expect(more).toEqual([]);
    expect(problem).toMatch(/^backup\.recipient /);
    expect(problem).toContain(sentence);
    expect(problem).toContain(SET_RECIPIENT);
    expect(problem).not.toContain("mQG");
  });

  test.each([
    ["directory", "backups", "must be the absolute path of a folder"],
    ["directory", "/", "must be the absolute path of a folder"],
    ["directory", "/var/../etc", "must be the absolute path of a folder"],
    ["directory", "/var/backups/", "must be the absolute path of a folder"],
    ["directory", "/my backups", "must be the absolute path of a folder"],
    ["schedule", "30 3 * * *", "not as cron does"],
    ["schedule", "every night", "must be a time as systemd's OnCalendar has it"],
    ["schedule", "daily\nPersistent=false", "must be a time as systemd's OnCalendar has it"],
    ["keep", 0, "must be at least 1"],
    ["keep", 1.5, "must be a whole number"],
    ["warnAfterHours", -1, "must be at least 0"],
  ])("refuses %s %j", (name, value, sentence) => {
    const [problem = "", ...more] = said({ recipient: PUBLIC_KEY, [name]: value });
    expect(more).toEqual([]);
    expect(problem).toContain(`backup.${name} ${sentence.startsWith("not") ? "must be a time" : sentence}`);
    expect(problem).toContain(sentence);
  });

  test.each([
    "daily",
    "hourly",
    "*-*-* 03:30:00",
    "Mon,Thu *-*-* 02:00",
    "Mon..Fri 22:30",
    "*-*-1 04:00:00 Europe/Berlin",
    "03:30",
  ])("takes the time %s", (schedule) => {
    expect(said({ recipient: PUBLIC_KEY, schedule })).toEqual([]);
  });
});

describe("purge", () => {
  const RECIPIENT = { recipient: PUBLIC_KEY };

  test("is not, unless it is asked for", () => {
    expect(settingsOf(minimal).purge).toBe(false);
    expect(parse({ ...minimal, purge: false })).toMatchObject({ warnings: [] });
  });

  test("needs a backup that can be made at the end, or that it is said that there is none", () => {
    expect(problemsOf({ ...minimal, purge: true })).toEqual([
      "backup.recipient is missing, and purge is true, before which a last backup has to be made; for example: gpg --armor --export backup@example.com | pulumi config set --path backup.recipient; or give everything up without one with: pulumi config set purge without-backup",
    ]);
    expect(problemsOf({ ...minimal, purge: true, backup: RECIPIENT })).toEqual([]);
    expect(problemsOf({ ...minimal, purge: "without-backup" })).toEqual([]);
  });

  test("is warned of by every preview, which says what it means", () => {
    expect(parse({ ...minimal, purge: true, backup: RECIPIENT })).toMatchObject({
      warnings: [
        "purge is true: once pulumi up was run with it, pulumi destroy removes the database, the media and the signing key for good, after a last backup; to keep them, write: pulumi config set purge false",
      ],
    });
    expect(parse({ ...minimal, purge: "without-backup" })).toMatchObject({
      warnings: [expect.stringContaining("for good, without a last backup; to keep them")],
    });
  });

  test.each(["yes", 1, "with-backup"])("is not %p", (purge) => {
    expect(problemsOf({ ...minimal, purge })).toEqual([
      expect.stringMatching(
        /^purge must be true, false or without-backup.*; for example: pulumi config set purge true$/,
      ),
    ]);
  });

  test("does not remove the backups", () => {
    expect(
      problemsOf({ ...minimal, purge: true, backup: { ...RECIPIENT, directory: "/opt/synapse/backups" } }),
    ).toEqual([
      "backup.directory is in /opt/synapse, which a purge removes; write: pulumi config set --path backup.directory /var/backups/matrix-homeserver",
    ]);
    expect(
      problemsOf({ ...minimal, purge: true, backup: { ...RECIPIENT, directory: "/opt/synapse-backups" } }),
    ).toEqual([]);
  });
});

describe("the schema", () => {
  test("documents every setting, with a right example or a command", () => {
    for (const [path, schema] of leaves()) {
      const { description, example, command } = metaOf(schema);
      expect([path.join("."), description, example ?? command]).toEqual([
        path.join("."),
        expect.stringMatching(/\.$/),
        expect.stringMatching(/./),
      ]);
      if (example !== undefined && path.at(-1) !== "privateKeyFile") {
        const [name = "", key] = path;
        const said = problemsOf({
          ...minimal,
          [name]: key === undefined ? example : { ...(minimal[name] as object | undefined), [key]: example },
        });
        // Other settings may be missed; this one is right.
        expect(
          said.filter((problem) => problem.startsWith(`${path.join(".")} `) && !problem.includes("no effect")),
        ).toEqual([]);
      }
    }
  });

  test("has every setting that a wrong name is taken for", () => {
    for (const target of aliasTargets)
      expect([target, settingAt(target.split("."))]).toEqual([target, expect.anything()]);
  });

  test("is what docs/settings.md and Pulumi.yaml say", () => {
    const run = () =>
      execFileSync(process.execPath, ["node_modules/tsx/dist/cli.mjs", "docs/settings.ts", "--check"], {
        cwd: join(__dirname, "..", ".."),
        stdio: ["ignore", "pipe", "pipe"],
      });
    expect(run).not.toThrow();
  });
});

test("no free-form setting that is right by Synapse's own description is refused", () => {
  expect(
    checkHomeserverSettings({
      caches: {
        global_factor: 1,
        per_cache_factors: { get_users_who_share_room_with_user: 2 },
        cache_entry_ttl: "30m",
      },
      default_room_version: 10,
      encryption_enabled_by_default_for_room_type: "all",
      ip_range_blacklist: ["10.0.0.0/8"],
      media_retention: { local_media_lifetime: "90d" },
      oidc_providers: [{ idp_id: "x", client_secret_path: "/y" }],
      password_config: { enabled: "only_for_reauth", policy: { minimum_length: 15 } },
      presence: { enabled: false },
      redis: { enabled: true, dbid: 1 },
      report_stats: true,
      retention: { enabled: true, default_policy: { min_lifetime: "1d", max_lifetime: "1y" } },
      stream_writers: { events: ["worker1"], typing: "worker1" },
      url_preview_enabled: true,
    }),
  ).toEqual([]);
});
