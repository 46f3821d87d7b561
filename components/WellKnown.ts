import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { renderTemplate } from "./templates";

/** Arguments of {@link WellKnown}. */
export interface WellKnownArgs {
  /** The machine whose nginx serves the server name. */
  readonly host: Machine;
  /** The address that clients use: `https://matrix.example.com`. */
  readonly publicBaseUrl: string;
  /** Tell browsers never to use plain HTTP for the server name again, for a year. Default: false. */
  readonly hsts?: boolean;
}

/**
 * The two documents by which clients and other servers find the homeserver of a name, as a piece of nginx configuration for
 * the server block of that name.
 */
export class WellKnown extends pulumi.ComponentResource {
  /** Path on the host, for nginx's `include`. */
  readonly snippet: string;
  /** Name of the resource that is the snippet. */
  readonly file: string;
  /** Changes with the documents. */
  readonly content: pulumi.Output<string>;

  constructor(name: string, args: WellKnownArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:WellKnown", name, {}, opts);
    this.snippet = "/etc/nginx/matrix-homeserver/well-known.conf";

    const file = new RemoteFile(
      `${name}-snippet`,
      {
        host: args.host,
        path: this.snippet,
        content: renderSnippet(args.publicBaseUrl, args.hsts),
        // Removed by NginxProxy, since an nginx that includes it would not start without it.
        keep: true,
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    this.file = file.name;
    this.content = file.content;

    this.registerOutputs({ snippet: this.snippet });
  }
}

/** What a homeserver with this address says of itself, by the Matrix specification (server discovery, client discovery). */
export function wellKnownDocuments(publicBaseUrl: string): { server: object; client: object } {
  return {
    server: { "m.server": `${new URL(publicBaseUrl).hostname}:443` },
    client: { "m.homeserver": { base_url: publicBaseUrl } },
  };
}

/** The locations that answer with the documents. Pure. */
export function renderSnippet(publicBaseUrl: string, hsts = false): string {
  return renderTemplate("etc/nginx/matrix-homeserver/well-known.conf", {
    hsts,
    documents: Object.entries(wellKnownDocuments(publicBaseUrl)).map(([name, content]) => ({
      path: `/.well-known/matrix/${name}`,
      text: inSingleQuotes(JSON.stringify(content)),
    })),
  });
}

/** nginx reads backslashes, and variables, in quoted text. JSON can say both otherwise. */
function inSingleQuotes(json: string): string {
  return json.replaceAll("$", "\\u0024").replaceAll("'", "\\u0027").replaceAll("\\", "\\\\");
}
