import * as pulumi from "@pulumi/pulumi";

import { BEFORE_ADOPTION } from "./Adoption";
import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import { renderTemplate } from "./templates";
import type { TlsCertificate } from "./TlsCertificate";
import type { WellKnown } from "./WellKnown";
import { routing, type Routing } from "./workerRouting";
import type { Worker } from "./workers";

/** Arguments of {@link NginxProxy}. */
export interface NginxProxyArgs {
  /** The machine. */
  readonly host: Machine;
  /** Stream of the dnf module `nginx`, for example `1.24`. */
  readonly stream: pulumi.Input<string>;
  /** Whether the machine has IPv6: without it nginx could not start with an IPv6 address. */
  readonly ipv6: pulumi.Input<boolean>;
  /** The name in user ids, whose server block answers discovery. */
  readonly serverName: string;
  /** The names that clients and other servers use for the homeserver itself. */
  readonly domains: readonly string[];
  /** Whether this nginx serves the server name, or another site does and only includes the snippet. Default: true. */
  readonly servesApex?: boolean;
  /** Serve the Matrix API under the server name, too. Default: false. */
  readonly apexProxy?: boolean;
  /** Listen on 8448 as well, for servers that know nothing of delegation. Default: false. */
  readonly federationPort?: boolean;
  /** Networks that may reach Synapse's admin API, in nginx's notation. Default: none, it is closed. */
  readonly adminNetworks?: readonly string[];
  /** Tell browsers never to use plain HTTP for these names again, for a year. Default: false. */
  readonly hsts?: boolean;
  /** Port of Synapse on this machine. */
  readonly upstreamPort: number;
  /** Workers of Synapse on this machine, which get what they can answer. Default: none, the main process answers all. */
  readonly workers?: readonly Worker[];
  /** Largest upload, in nginx's notation; Synapse's own limit. Default: `50M`. */
  readonly maxBodySize?: string;
  /** What it serves with. */
  readonly certificate: TlsCertificate;
  /** What it answers discovery with. */
  readonly wellKnown: WellKnown;
  /** Files of nginx's that this one replaces; they are moved to another folder. Default: none. */
  readonly replaces?: readonly string[];
}

const CONFIG_FILE = "/etc/nginx/conf.d/matrix-homeserver.conf";

/** nginx in front of Synapse: TLS on port 443, discovery on the server name. Other sites of the same nginx stay as they are. */
export class NginxProxy extends pulumi.ComponentResource {
  /** Changes with every change of what nginx serves. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: NginxProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:NginxProxy", name, {}, opts);
    const { host, certificate, wellKnown } = args;

    const packages = new Packages(
      `${name}-packages`,
      { host, module: pulumi.interpolate`nginx:${args.stream}`, packages: ["nginx"] },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const site = new RemoteFile(
      `${name}-site`,
      {
        host,
        path: CONFIG_FILE,
        content: pulumi.output(args.ipv6).apply((ipv6) =>
          renderSite({
            ipv6,
            serverName: args.serverName,
            domains: args.domains,
            servesApex: args.servesApex ?? true,
            apexProxy: args.apexProxy ?? false,
            federationPort: args.federationPort ?? false,
            adminNetworks: args.adminNetworks ?? [],
            hsts: args.hsts ?? false,
            upstreamPort: args.upstreamPort,
            workers: routing(args.workers ?? []),
            maxBodySize: args.maxBodySize ?? "50M",
            certificate: certificate.certificatePath,
            certificateKey: certificate.keyPath,
            webroot: certificate.webroot ?? null,
            wellKnown: wellKnown.snippet,
          }),
        ),
        checkInPlace: "nginx -t",
        // Removed by the script below, together with what it includes.
        keep: true,
      },
      { parent: this, dependsOn: [packages, certificate, wellKnown] },
    );
    this.revision = pulumi
      .all([site.content, wellKnown.content, certificate.revision])
      .apply((parts) => fingerprint(...parts));
    new RemoteScript(
      `${name}-activation`,
      {
        host,
        script: "nginx.sh",
        variables: {
          CONFIGURATION: this.revision,
          REPLACED: (args.replaces ?? []).join("\n"),
          BEFORE: `${BEFORE_ADOPTION}/nginx`,
        },
        follows: [site.name, wellKnown.file, ...certificate.files],
        onDelete: { script: "nginx-remove.sh", variables: { FILES: [CONFIG_FILE, wellKnown.snippet].join("\n") } },
      },
      { parent: this, dependsOn: site },
    );

    this.registerOutputs({ revision: this.revision });
  }
}

/** What the site's template is made from. */
export interface Site {
  readonly ipv6: boolean;
  readonly serverName: string;
  readonly domains: readonly string[];
  readonly servesApex: boolean;
  readonly apexProxy: boolean;
  readonly federationPort: boolean;
  readonly adminNetworks: readonly string[];
  readonly hsts: boolean;
  readonly upstreamPort: number;
  /** Which requests go to which workers; null where there are none. */
  readonly workers: Routing | null;
  readonly maxBodySize: string;
  readonly certificate: string;
  readonly certificateKey: string;
  readonly webroot: string | null;
  readonly wellKnown: string;
}

/** The server blocks of the homeserver's names and of the server name; of one block, where they are the same. Pure. */
export function renderSite(site: Site): string {
  const { serverName, domains, wellKnown, servesApex, federationPort, adminNetworks } = site;
  const apexIsDomain = domains.includes(serverName);
  const allNames = [...new Set([...domains, ...(servesApex ? [serverName] : [])])];
  const vhosts = [
    { port: 443, names: domains, proxy: true, wellKnown: apexIsDomain ? wellKnown : null },
    ...(servesApex && !apexIsDomain ? [{ port: 443, names: [serverName], proxy: site.apexProxy, wellKnown }] : []),
    ...(federationPort ? [{ port: 8448, names: allNames, proxy: true, wellKnown: null }] : []),
  ];
  return renderTemplate("etc/nginx/conf.d/matrix-homeserver.conf", {
    ...site,
    allNames,
    admin: adminNetworks.length > 0 && { networks: adminNetworks },
    vhosts,
  });
}
