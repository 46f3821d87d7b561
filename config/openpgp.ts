const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END = "-----END PGP PUBLIC KEY BLOCK-----";
/** The kind of the packet that a public key begins with. */
const PUBLIC_KEY = 6;

/** What keeps a text from being an ASCII-armoured OpenPGP public key (RFC 9580, 6.2), as the end of a sentence. Pure. */
export function publicKeyProblem(text: string): string | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const whole = lines.join("\n").trim();
  if (whole.includes("PRIVATE KEY"))
    return "must be the public key; the private one stays with you, and is now to be replaced";
  if (/^ssh-|^age1|^untrusted comment/.test(whole)) return "must be an OpenPGP public key, of gpg's making";
  if (whole.includes("BEGIN PGP") && !whole.includes(BEGIN))
    return "must be an OpenPGP public key: this is another kind of OpenPGP's texts";
  if (!whole.includes("-----"))
    return "must be the key itself, ASCII-armoured, and neither its name nor its fingerprint nor a file's path";
  if (!whole.startsWith(BEGIN) || !whole.endsWith(END)) return `must begin with ${BEGIN} and end with ${END}`;
  if (whole.split(BEGIN).length > 2) return "must be one key: more than one stands in it";

  const inner = whole.slice(BEGIN.length, -END.length);
  // Headers, such as Comment:, end with an empty line.
  const body = inner.includes("\n\n") ? inner.slice(inner.indexOf("\n\n")) : "";
  const [, data = "", , checksum] = /^\s*([A-Za-z0-9+/\n]+={0,2})\s*(=([A-Za-z0-9+/]{4}))?\s*$/.exec(body) ?? [];
  const bytes = Buffer.from(data, "base64");
  const [first = 0] = bytes;
  const kind = (first & 0x40) === 0 ? (first & 0x3c) >> 2 : first & 0x3f;
  const intact =
    bytes.length > 40 && (checksum === undefined || Buffer.from(checksum, "base64").readUIntBE(0, 3) === crc24(bytes));
  if (!intact) return "is not a whole key: some of it is missing or changed";
  return kind === PUBLIC_KEY ? undefined : "must be an OpenPGP public key: this is another kind of OpenPGP's texts";
}

/** The checksum at the end of an armour. */
function crc24(bytes: Buffer): number {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x800000) === 0 ? crc << 1 : (crc << 1) ^ 0x1864cfb;
  }
  return crc & 0xffffff;
}
