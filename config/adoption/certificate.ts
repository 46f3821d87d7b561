import { X509Certificate } from "node:crypto";

import { checkCertificate } from "../certificates";
import type { Found, Part, Wishes } from "./found";
import type { Site } from "./nginxSites";

/** Where the certificate comes from after the takeover: the one in use where it is good, else another. Pure. */
export function planCertificate(
  { pem }: Found,
  { acmeEmail, now }: Wishes,
  sites: readonly Site[],
  base: string,
  served: readonly string[],
): Part & { readonly kept: string[]; readonly changes: string[] } {
  const own = sites.find((site) => site.certificate !== undefined && site.names.includes(base));
  const certificate = pem[own?.certificate ?? ""]?.trim();
  const key = pem[own?.key ?? ""]?.trim();
  const nothing = { settings: {}, secrets: {}, problems: [], kept: [] };
  const path = own?.certificate ?? "";
  const isCertbots = path.startsWith("/etc/letsencrypt/");
  if (isCertbots && acmeEmail !== undefined)
    return {
      ...nothing,
      settings: { mode: "acme", acmeEmail },
      changes: [
        "a new certificate from Let's Encrypt; until it is there, for some seconds, one that nobody trusts. certbot's own renewal may be turned off then",
      ],
    };
  if (certificate === undefined || key === undefined)
    return {
      ...nothing,
      changes: ["the certificate is one of the machine's own (nginx's was not found): see tls in docs/settings.md"],
    };
  const { problems } = checkCertificate(certificate, key, served, now);
  if (problems.length > 0) {
    const why = `the certificate ${path} ${problems.map(({ message }) => message).join(", and ")}`;
    return isCertbots
      ? { ...nothing, problems: [`${why}: say ACME_EMAIL=you@your-domain, and a new one is asked for`], changes: [] }
      : {
          ...nothing,
          changes: [
            `${why}: one of the machine's own authority takes its place, which clients have to be given; or set tls`,
          ],
        };
  }
  const first = new X509Certificate(certificate);
  const isSelfSigned = first.checkIssued(first) && first.verify(first.publicKey);
  return {
    settings: { mode: "provided", certificate, ...(isSelfSigned && { ca: certificate }) },
    secrets: { "tls.key": key },
    problems: [],
    kept: [`the certificate ${path}${isSelfSigned ? ", which signed itself" : ""}`],
    changes: isCertbots
      ? ["certbot does not renew what is served any more: set tls.mode acme and tls.acmeEmail soon"]
      : [],
  };
}
