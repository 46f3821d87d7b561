import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate and its private key, PEM. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** An authority, one that it signed, and what that one signed; good for the next 90 days. */
export interface TestCertificates {
  readonly root: Pair;
  readonly intermediate: Pair;
  /** For example.com, matrix.example.com and synapse.example.com. */
  readonly server: Pair;
  /** For example.com and *.example.com. */
  readonly wildcard: Pair;
  /** For other.org, by itself. */
  readonly selfSigned: Pair;
  /** The key of `server` behind a passphrase. */
  readonly encryptedKey: string;
  /** An RSA key of 1024 bits. */
  readonly weakKey: string;
}

/** Certificates made by openssl, as an operator would make them. */
export function makeCertificates(): TestCertificates {
  const folder = mkdtempSync(join(tmpdir(), "settings-"));
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const read = (file: string) => readFileSync(join(folder, file), "utf8").trim();
  const make = (name: string, extensions: string[], signer?: string): Pair => {
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", `${name}.key`);
    openssl("req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-out", `${name}.csr`);
    writeFileSync(join(folder, `${name}.ext`), extensions.join("\n"));
    const by = signer === undefined ? ["-signkey", `${name}.key`] : ["-CA", `${signer}.crt`, "-CAkey", `${signer}.key`];
    openssl(
      ...[
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-days",
        "90",
        "-set_serial",
        `${Date.now()}`,
        "-extfile",
        `${name}.ext`,
      ],
      ...["-out", `${name}.crt`, ...by],
    );
    return { certificate: read(`${name}.crt`), key: read(`${name}.key`) };
  };
  const names = (...dns: string[]) => [`subjectAltName=${dns.map((name) => `DNS:${name}`).join(",")}`];
  const authority = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
  try {
    const root = make("Test Root", authority);
    const intermediate = make("Test Intermediate", authority, "Test Root");
    const server = make(
      "server",
      names("example.com", "matrix.example.com", "synapse.example.com"),
      "Test Intermediate",
    );
    openssl("pkey", "-in", "server.key", "-aes256", "-passout", "pass:x", "-out", "encrypted.key");
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", "weak.key");
    return {
      root,
      intermediate,
      server,
      wildcard: make("wildcard", names("example.com", "*.example.com"), "Test Intermediate"),
      selfSigned: make("other.org", names("other.org")),
      encryptedKey: read("encrypted.key"),
      weakKey: read("weak.key"),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
