import { randomBytes } from "node:crypto";

// The password hash `bcrypt` (version 2a): Blowfish whose key schedule is repeated 2^cost times with password and salt.

const ROUNDS = 16;
const MAGIC = "OrpheanBeholderScryDoubt";
const ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const STANDARD_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/** bcrypt looks at no more of a password than this. */
const PASSWORD_BYTES = 72;

interface State {
  readonly p: Uint32Array;
  readonly s: Uint32Array;
}

/** Hashes a password, by default with a fresh salt. */
export function bcrypt(password: string, cost = 10, salt: Buffer = randomBytes(16)): string {
  const key = Buffer.concat([Buffer.from(password), Buffer.alloc(1)]).subarray(0, PASSWORD_BYTES);
  const state = { p: piWords().slice(0, ROUNDS + 2), s: piWords().slice(ROUNDS + 2) };
  expand(state, key, salt);
  for (let round = 0; round < 2 ** cost; round++) {
    expand(state, key);
    expand(state, salt);
  }

  const block = new Uint32Array(MAGIC.length / 4);
  const hash = Buffer.from(MAGIC);
  block.forEach((_, index) => (block[index] = hash.readUInt32BE(index * 4)));
  for (let index = 0; index < block.length; index += 2) {
    for (let round = 0; round < 64; round++) encipher(state, block, index);
  }
  block.forEach((word, index) => hash.writeUInt32BE(word, index * 4));
  // The last byte was lost in the first implementation, and so in all of them.
  return `$2a$${String(cost).padStart(2, "0")}$${encode(salt)}${encode(hash.subarray(0, hash.length - 1))}`;
}

/** Whether the hash is this password's. */
export function bcryptMatches(password: string, hash: string): boolean {
  const parts = /^\$2a\$(\d\d)\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}$/.exec(hash);
  return parts !== null && bcrypt(password, Number(parts[1]), decode(parts[2] ?? "")) === hash;
}

function expand(state: State, key: Buffer, salt?: Buffer): void {
  const { p, s } = state;
  for (let index = 0, offset = 0; index < p.length; index++, offset += 4) {
    p[index] = at(p, index) ^ wordAt(key, offset);
  }
  const block = new Uint32Array(2);
  let offset = 0;
  for (const table of [p, s]) {
    for (let index = 0; index < table.length; index += 2, offset += 8) {
      if (salt) {
        block[0] = at(block, 0) ^ wordAt(salt, offset);
        block[1] = at(block, 1) ^ wordAt(salt, offset + 4);
      }
      encipher(state, block, 0);
      table[index] = at(block, 0);
      table[index + 1] = at(block, 1);
    }
  }
}

function encipher({ p, s }: State, block: Uint32Array, index: number): void {
  let left = at(block, index);
  let right = at(block, index + 1);
  for (let round = 0; round < ROUNDS; round++) {
    left ^= at(p, round);
    const sum = (at(s, left >>> 24) + at(s, 256 + ((left >>> 16) & 255))) | 0;
    right ^= ((sum ^ at(s, 512 + ((left >>> 8) & 255))) + at(s, 768 + (left & 255))) | 0;
    [left, right] = [right, left];
  }
  block[index] = right ^ at(p, ROUNDS + 1);
  block[index + 1] = left ^ at(p, ROUNDS);
}

/** Four bytes of a key that repeats for as long as it is read. */
function wordAt(key: Buffer, offset: number): number {
  let word = 0;
  for (let index = 0; index < 4; index++) word = (word << 8) | at(key, (offset + index) % key.length);
  return word;
}

function at(table: Uint32Array | Buffer, index: number): number {
  return table[index] ?? 0;
}

function encode(bytes: Buffer): string {
  return bytes
    .toString("base64")
    .replace(/=+$/, "")
    .replace(/./g, (char) => ALPHABET.charAt(STANDARD_ALPHABET.indexOf(char)));
}

function decode(encoded: string): Buffer {
  const standard = encoded.replace(/./g, (char) => STANDARD_ALPHABET.charAt(ALPHABET.indexOf(char)));
  return Buffer.from(standard, "base64");
}

let words: Uint32Array | undefined;

/** Blowfish starts from the binary digits of pi's fraction: 18 words of keys, then four tables of 256. */
function piWords(): Uint32Array {
  if (words) return words;
  const count = ROUNDS + 2 + 4 * 256;
  const guard = 64n;
  const bits = BigInt(count * 32) + guard;
  // Machin: pi = 16 arctan(1/5) - 4 arctan(1/239)
  const pi = 16n * inverseArctan(5n, bits) - 4n * inverseArctan(239n, bits);
  const fraction = (pi & ((1n << bits) - 1n)) >> guard;
  const digits = Buffer.from(fraction.toString(16).padStart(count * 8, "0"), "hex");
  return (words = Uint32Array.from({ length: count }, (_, index) => digits.readUInt32BE(index * 4)));
}

/** arctan(1/x) as a binary fraction. */
function inverseArctan(x: bigint, bits: bigint): bigint {
  let power = (1n << bits) / x;
  let sum = power;
  for (let divisor = 3n, sign = -1n; power !== 0n; divisor += 2n, sign = -sign) {
    power /= x * x;
    sum += (sign * power) / divisor;
  }
  return sum;
}
