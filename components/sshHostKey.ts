import { createPrivateKey, createPublicKey } from "node:crypto";

/** Both halves of an ed25519 host key in OpenSSH's formats. */
export interface SshHostKeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** The SSH host key that 32 bytes (an ed25519 seed) stand for, so that it can be known before its machine exists. Pure. */
export function sshHostKey(seed: Buffer, comment: string): SshHostKeyPair {
  // An ed25519 private key in PKCS #8 is its seed behind a constant header (RFC 8410).
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  // Likewise the public key: the last 32 bytes of its SubjectPublicKeyInfo.
  const publicHalf = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);

  const publicBlob = Buffer.concat([sshString("ssh-ed25519"), sshString(publicHalf)]);
  return {
    privateKey: armour(openSshPrivateKey(publicBlob, publicHalf, seed, comment)),
    publicKey: `ssh-ed25519 ${publicBlob.toString("base64")}`,
  };
}

/** The body of an unencrypted key as OpenSSH's PROTOCOL.key describes it. */
function openSshPrivateKey(publicBlob: Buffer, publicHalf: Buffer, seed: Buffer, comment: string): Buffer {
  // Two equal numbers, by which a reader sees that it decrypted rightly; any will do.
  const check = Buffer.alloc(8);
  const secret = [check, sshString("ssh-ed25519"), sshString(publicHalf), sshString(Buffer.concat([seed, publicHalf]))];
  secret.push(sshString(comment));
  const unpadded = Buffer.concat(secret);
  const padding = Buffer.from(Array.from({ length: (8 - (unpadded.length % 8)) % 8 }, (_, index) => index + 1));
  return Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    sshString("none"),
    sshString("none"),
    sshString(""),
    sshNumber(1),
    sshString(publicBlob),
    sshString(Buffer.concat([unpadded, padding])),
  ]);
}

function armour(body: Buffer): string {
  const lines = body.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n");
}

function sshString(value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([sshNumber(bytes.length), bytes]);
}

function sshNumber(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
