import { isIP } from "node:net";
import { domainToASCII } from "node:url";

const LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
// The last label of a name in DNS is never a number: what looks like one is a part of an IP address, or a version.
const DNS_NAME = new RegExp(`^(?=.{1,253}$)(${LABEL}\\.)+(?=[a-z0-9-]*[a-z])${LABEL}$`);

/** Whether it is a fully qualified DNS name in lower case. */
export const isDnsName = (name: string): boolean => DNS_NAME.test(name);

/** What is wrong with a text, as the end of a sentence, and what to write in its place. */
export interface Correction {
  readonly message: string;
  readonly write: string;
}

/** What keeps a text from being the name of a server; undefined when nothing does. Pure. */
export function serverNameProblem(name: string): string | Correction | undefined {
  if (isDnsName(name)) return undefined;
  const bare = bareName(name);
  if (isIP(bare) > 0) return "must be a DNS name, not an IP address";
  if (name.includes("_")) return "must be a DNS name, which has no underscore: letters, digits, hyphens and dots only";
  if (name.startsWith("*.")) return "must be one name, not a wildcard";
  const ascii = domainToASCII(bare);
  if (/[^\p{ASCII}]/u.test(bare) && isDnsName(ascii)) return { message: "must be in its ASCII form", write: ascii };
  if (!isDnsName(bare.toLowerCase())) {
    return /^[a-z0-9-]+$/i.test(bare)
      ? "must be a DNS name with a dot in it"
      : "must be a DNS name: letters, digits, hyphens and dots";
  }
  const wrong = /^[a-z]+:\/\//i.test(name)
    ? "without scheme"
    : name.startsWith("@")
      ? "without the part of the user"
      : name.includes("/")
        ? "without a path"
        : /:\d*$/.test(name)
          ? "without a port"
          : name.endsWith(".")
            ? "without a dot at its end"
            : name.startsWith("[")
              ? "without brackets"
              : "in lower case";
  return { message: `must be a bare DNS name, ${wrong}`, write: bare.toLowerCase() };
}

/** What keeps a text from being the address of a machine. Pure. */
export function addressProblem(address: string): string | undefined {
  if (isIP(address) > 0) return undefined;
  // A name of one label, from /etc/hosts, will do, and an underscore, too: nothing but this machine looks it up.
  if (/^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(address) && !/^[0-9.]+$/.test(address))
    return undefined;
  if (address.includes("://")) return "must be a host name or an IP address, not a URL";
  if (address.includes("@")) return "must be a host name or an IP address alone: the account is a setting of its own";
  if (address.startsWith("[")) return "must be written without brackets";
  if (/:\d+$/.test(address)) return "must be a host name or an IP address alone: the port is a setting of its own";
  if (address.startsWith("/")) return "must be a host name or an IP address, not the path of a socket";
  return "must be a host name or an IP address";
}

/** What keeps a text from being a network: an IP address, or one with a prefix length. Pure. */
export function networkProblem(network: string): string | undefined {
  const [address = "", prefix, ...more] = network.split("/");
  const family = isIP(address);
  const longest = family === 4 ? 32 : 128;
  if (family === 0 || address.includes("%") || more.length > 0)
    return "must be an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32";
  if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest))
    return `must have a prefix length from 0 to ${longest} behind the slash`;
  return undefined;
}

/** What keeps a text from being an email address that can be written to. Pure. */
export function emailProblem(email: string): string | undefined {
  if (/^mailto:/i.test(email)) return "must be the address alone, with no mailto: in front of it";
  const [local = "", domain = "", ...more] = email.split("@");
  const right = /^[^\s,;<>()"]+$/.test(local) && isDnsName(domain.toLowerCase()) && more.length === 0;
  return right ? undefined : "must be an email address";
}

/** The end of a name that no public authority certifies, such as `.test`; undefined for names in the public DNS. Pure. */
export function privateEnding(name: string): string | undefined {
  return /\.(test|example|invalid|localhost|local|internal|lan|home|corp|home\.arpa|onion)$/.exec(name)?.[0];
}

/** A name without what people put around it: scheme, user, path, port, brackets, final dot. */
function bareName(name: string): string {
  const host = name
    .replace(/^[a-z]+:\/\//i, "")
    .replace(/^@[^:]*:/, "")
    .replace(/[/?#].*$/, "");
  const unbracketed = /^\[(.*)\](:\d*)?$/.exec(host)?.[1];
  if (unbracketed !== undefined) return unbracketed;
  return (isIP(host) > 0 ? host : host.replace(/:\d*$/, "")).replace(/\.$/, "");
}
