import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

const PROJECT = join(__dirname, "..");
const HOST_KEY_TYPE = /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa)$/;

/** The text of a private key file, by its path from the project's folder. */
export function readKeyFile(file: string): string {
  return readFileSync(resolve(PROJECT, file), "utf8");
}

/** What keeps a file from being a private SSH key that can be used without anybody at hand. */
export function keyFileProblem(file: string): string | undefined {
  if (file.includes("-----")) return "must be the path of a file, not the key itself";
  if (file.startsWith("~"))
    return "must be a path without ~, which nothing expands here: write the home folder's whole path";
  if (statSync(resolve(PROJECT, file), { throwIfNoEntry: false })?.isFile() !== true)
    return "is no file: give the path of a private SSH key, or leave it out to use the ssh-agent";
  let text: string;
  try {
    text = readKeyFile(file);
  } catch {
    return "cannot be read by the account that runs pulumi";
  }
  if (text.startsWith("PuTTY-User-Key-File"))
    return "is in PuTTY's format: convert it with puttygen FILE -O private-openssh -o id_ed25519";
  if (!text.includes("PRIVATE KEY-----")) return "is no private key: the public one ends in .pub, give the other";
  const body = Buffer.from(text.replace(/-----.*?-----/g, ""), "base64").toString("latin1");
  if (text.includes("ENCRYPTED") || body.slice(0, 64).includes("bcrypt"))
    return "has a passphrase, which nobody could type in here: load it with ssh-add and leave this setting out";
  return undefined;
}

/** What keeps a text from being a public SSH host key. Pure. */
export function hostKeyProblem(text: string): string | undefined {
  if (/^(SHA256|MD5):/.test(text)) return "must be the key itself, not its fingerprint";
  if (text.includes("PRIVATE KEY")) return "must be the machine's public key, never a private one";
  if (text.includes("\n")) return "must be one key, on one line";
  const [type = "", blob = ""] = text.split(/ +/);
  if (!HOST_KEY_TYPE.test(type)) {
    return HOST_KEY_TYPE.test(blob)
      ? `must begin with ${blob}: leave out the address in front of it`
      : "must be a public SSH host key, as ssh-keyscan prints it after the address";
  }
  const parts = stringsOf(Buffer.from(blob, "base64"));
  if (!/^[A-Za-z0-9+/]+=*$/.test(blob) || parts?.[0]?.toString() !== type || parts.length < 2)
    return "is not a whole key: some of it is missing or changed";
  return undefined;
}

/** The strings that an SSH key is made of, each with its length in front; undefined when they do not add up. */
function stringsOf(key: Buffer): Buffer[] | undefined {
  const parts: Buffer[] = [];
  let at = 0;
  while (at < key.length) {
    if (at + 4 > key.length) return undefined;
    const end = at + 4 + key.readUInt32BE(at);
    if (end > key.length) return undefined;
    parts.push(key.subarray(at + 4, end));
    at = end;
  }
  return parts;
}
