import { isDeepStrictEqual } from "node:util";

import { domainsOf, servedNames } from "../rules";
import { planCertificate } from "./certificate";
import { type Found, type Part, SYNAPSE_PORT, type Wishes } from "./found";
import { readSites, type Site } from "./nginxSites";

/** What nginx on the machine becomes. */
export interface Web extends Part {
  /** The files of nginx's that the program's own replace. */
  readonly files: string[];
  readonly found: string[];
  readonly kept: string[];
  readonly changes: string[];
  readonly left: string[];
}

/** Which sites the program takes over, which it leaves, and how the server is reached then. Pure. */
export function planWeb(found: Found, wishes: Wishes): Web {
  const serverName = found.homeserver.server_name;
  const problems: string[] = [];
  const kept: string[] = [];
  const changes: string[] = [];
  const left: string[] = [];
  const sites = readSites(found.nginx);
  const proxies = sites.filter(({ upstreamPorts }) => upstreamPorts.includes(SYNAPSE_PORT));
  const names = [...new Set(proxies.flatMap((site) => site.names))];
  for (const { file, names: own } of proxies)
    if (own.length === 0 || own.some((name) => !/^[a-z0-9.-]+\.[a-z0-9-]+$/.test(name)))
      problems.push(
        `a site of nginx's in ${file} that hands requests to Synapse has no server_name, or one that is a pattern: name the domains`,
      );

  const base = baseHost(found, names);
  const domains = [base, ...names.filter((name) => name !== base && name !== serverName)] as const;
  const apex = sites.filter((site) => site.names.includes(serverName) && base !== serverName);
  const apexSite =
    base === serverName || apex.some((site) => !site.other) ? "serve" : apex.length > 0 ? "snippet" : "external";
  const apexStays = apex.filter((site) => site.other);
  if (apexStays.length > 0 && apexSite === "serve" && apexStays.some(({ ports }) => ports.some((port) => port !== 80)))
    problems.push(`nginx has more than one site of ${serverName}: leave one`);
  const isOurs = (site: Site) =>
    proxies.includes(site) ||
    (site.names.length > 0 &&
      site.names.every((name) => [...domains, ...(apexSite === "serve" ? [serverName] : [])].includes(name)));
  const ours = sites.filter((site) => isOurs(site) && !(apexSite === "snippet" && apexStays.includes(site)));
  const files = [...new Set(ours.map(({ file }) => file))];
  for (const file of files) {
    const foreign = sites.filter((site) => site.file === file && !ours.includes(site));
    if (foreign.length > 0 || file === "/etc/nginx/nginx.conf")
      problems.push(
        `${file} has, beside the homeserver's sites, ${foreign.length > 0 ? `that of ${foreign.flatMap((site) => site.names).join(", ") || "no name"}` : "what else nginx needs"}: put the homeserver's into a file of their own in /etc/nginx/conf.d first`,
      );
  }
  if (sites.length === 0)
    left.push(
      "what is in front of Synapse, for it is not nginx: nginx needs ports 80 and 443, so stop the other first",
    );
  if (apexSite === "snippet") {
    kept.push(
      `the site of ${serverName} in ${apexStays.map(({ file }) => file).join(", ")}, which goes on answering discovery`,
    );
    if (apexStays.some((site) => proxies.includes(site)))
      problems.push(
        `the site of ${serverName} serves other things and hands requests to Synapse as well: take the latter out of it, discovery is enough`,
      );
  }
  if (apexSite === "external")
    left.push(
      `discovery on ${serverName}, which this machine does not answer: see the outputs wellKnownClient and wellKnownServer`,
    );
  if (files.length > 0)
    changes.push(
      `nginx serves ${[...domains, ...(apexSite === "serve" && base !== serverName ? [serverName] : [])].join(", ")} by a file of the program's; ${files.join(", ")} go to /var/lib/matrix-homeserver/before-adoption/nginx`,
    );

  const nginx = {
    ...(apexSite !== "serve" && { apexSite }),
    ...(apexSite === "serve" && base !== serverName && names.includes(serverName) && { apexProxy: true }),
    ...(ours.some(({ ports }) => ports.includes(8448)) && { federationPort: true }),
  };
  const usual = domainsOf({ serverName });
  const tls = planCertificate(found, wishes, ours, base, servedNames(serverName, domains, apexSite));
  return {
    settings: {
      ...(!isDeepStrictEqual(domains, usual) && { domains }),
      ...(Object.keys(tls.settings).length > 0 && { tls: tls.settings }),
      ...(Object.keys(nginx).length > 0 && { nginx }),
    },
    secrets: tls.secrets,
    problems: [...problems, ...tls.problems],
    files,
    found: [`address https://${base}${names.length > 0 ? `, nginx serves ${names.join(", ")}` : ""}`],
    kept: [...kept, ...tls.kept],
    changes: [...changes, ...tls.changes],
    left,
  };
}

/** The name that clients use. */
function baseHost({ homeserver: config, nginx }: Found, names: readonly string[]): string {
  const url =
    typeof config.public_baseurl === "string"
      ? config.public_baseurl
      : (/"base_url"\s*:\s*"(https:[^"]+)"/.exec(nginx.replaceAll("\\", ""))?.[1] ?? "");
  const host = URL.canParse(url) ? new URL(url).hostname : "";
  const usual = `matrix.${config.server_name}`;
  return host !== "" ? host : names.includes(usual) ? usual : (names[0] ?? usual);
}
