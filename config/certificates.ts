import { createPrivateKey, X509Certificate } from "node:crypto";

const DAY = 86_400_000;
/** How long before a certificate's end every preview says so. */
const WARN_DAYS = 21;

/** What is wrong with a certificate and its key, and what soon will be. */
export interface CertificateFindings {
  /** Ends of sentences that begin with the setting's name. None has a secret in it. */
  readonly problems: { readonly setting: "certificate" | "key"; readonly message: string }[];
  /** The same, of what works today. */
  readonly warnings: string[];
}

/** What keeps a text from being certificates in PEM format. Pure. */
export function certificateTextProblem(text: string): string | undefined {
  if (text.includes("PRIVATE KEY-----")) return "has a private key in it: only certificates belong here";
  const chain = blocks(text);
  if (chain.length === 0) return 'must be in PEM format, with a line "-----BEGIN CERTIFICATE-----"';
  const broken = chain.findIndex((block) => read(block) === undefined);
  if (broken < 0) return undefined;
  return `cannot be read: ${chain.length === 1 ? "the certificate" : `certificate ${broken + 1} of ${chain.length}`} is cut off or changed`;
}

/** What keeps a text from being a private key that nginx can read. Pure; never says anything of the key. */
export function keyTextProblem(text: string): string | undefined {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    return 'must be in PEM format, with a line "-----BEGIN PRIVATE KEY-----"';
  if (text.includes("ENCRYPTED"))
    return "has a passphrase, which nobody could type in on the machine: take it away with openssl pkey -in FILE -out PLAIN";
  const key = readKey(text);
  if (key === undefined) return "cannot be read: it is cut off or changed";
  const bits = key.asymmetricKeyType === "rsa" ? key.asymmetricKeyDetails?.modulusLength : undefined;
  return bits !== undefined && bits < 2048 ? `has ${bits} bits: OpenSSL refuses RSA keys of less than 2048` : undefined;
}

/**
 * Whether a readable certificate with its chain serves `names` at the time `now`, and whether `key`, where that is readable,
 * belongs to it. `ca` has the authorities that clients are given. Pure.
 */
export function checkCertificate(
  certificate: string,
  key: string | undefined,
  names: readonly string[],
  now: Date,
  ca = "",
): CertificateFindings {
  const chain = blocks(certificate).flatMap((block) => read(block) ?? []);
  const [own, ...authorities] = chain;
  if (own === undefined) return { problems: [], warnings: [] };
  const problems: CertificateFindings["problems"] = [];
  const wrong = (message: string, setting: "certificate" | "key" = "certificate") =>
    problems.push({ setting, message });

  if (own.ca && chain.some((other) => !other.ca)) {
    wrong(`begins with the authority ${nameOf(own)}: the server's own certificate must come first`);
  } else {
    for (const [index, authority] of authorities.entries()) {
      const signed = chain[index];
      if (signed !== undefined && !signs(authority, signed)) {
        const signer = chain.find((other) => other !== signed && signs(other, signed));
        wrong(
          signer === undefined
            ? `is no chain: ${nameOf(authority)} did not sign ${nameOf(signed)}, which stands before it`
            : `is not in order: ${nameOf(signer)} must follow ${nameOf(signed)}, which it signed`,
        );
        break;
      }
    }
    const uncovered = names.filter(
      (name) => own.checkHost(name, { subject: "never", partialWildcards: false }) === undefined,
    );
    if (uncovered.length > 0) wrong(`is not good for ${uncovered.join(", ")}: it names ${namesOf(own)}`);
    if (key !== undefined) {
      const privateKey = readKey(key);
      if (privateKey !== undefined && !own.checkPrivateKey(privateKey))
        wrong("does not belong to tls.certificate: it is the key of another", "key");
    }
  }
  // The date of an authority that signed itself says nothing: clients have it in their own list.
  for (const one of chain.filter((candidate) => candidate === own || !signs(candidate, candidate))) {
    if (endOf(one) <= now) wrong(`has expired: ${nameOf(one)} was good until ${day(endOf(one))}`);
    if (new Date(one.validFrom) > now)
      wrong(`is not good yet: ${nameOf(one)} begins on ${day(new Date(one.validFrom))}`);
  }

  const warnings: string[] = [];
  const first = chain.reduce((soonest, one) => (endOf(one) < endOf(soonest) ? one : soonest), own);
  const days = Math.floor((endOf(first).getTime() - now.getTime()) / DAY);
  if (problems.length === 0) {
    if (days < WARN_DAYS) {
      warnings.push(
        `expires on ${day(endOf(first))} (${days === 1 ? "1 day" : `${days} days`} from now): renew it, and set it and its key again`,
      );
    }
    const given = blocks(ca).flatMap((block) => read(block) ?? []);
    if (authorities.length === 0 && ![own, ...given].some((authority) => signs(authority, own))) {
      warnings.push(
        `has no chain: without the certificate of ${issuerOf(own)}, who signed it, other servers and many clients refuse it; use the file that your authority calls full chain`,
      );
    }
  }
  return { problems, warnings };
}

function blocks(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
}

function read(block: string): X509Certificate | undefined {
  try {
    return new X509Certificate(block);
  } catch {
    return undefined;
  }
}

function readKey(text: string): ReturnType<typeof createPrivateKey> | undefined {
  try {
    return createPrivateKey(text);
  } catch {
    return undefined;
  }
}

function signs(authority: X509Certificate, signed: X509Certificate): boolean {
  return signed.checkIssued(authority) && signed.verify(authority.publicKey);
}

const endOf = (certificate: X509Certificate) => new Date(certificate.validTo);
const day = (date: Date) => date.toISOString().slice(0, 10);
const commonName = (subject: string) => /^CN=(.*)$/m.exec(subject)?.[1];
const issuerOf = (certificate: X509Certificate) => JSON.stringify(commonName(certificate.issuer) ?? certificate.issuer);

/** How a person tells a certificate from the others of its chain. */
function nameOf(certificate: X509Certificate): string {
  return JSON.stringify(commonName(certificate.subject) ?? namesOf(certificate));
}

function namesOf(certificate: X509Certificate): string {
  const names = certificate.subjectAltName?.split(", ").map((name) => name.replace(/^DNS:/, "")) ?? [];
  return names.length > 0 ? names.join(", ") : "none (a common name alone no longer counts)";
}
