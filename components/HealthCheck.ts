import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Machine";
import { atOnce, dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";

/** Arguments of {@link HealthCheck}. */
export interface HealthCheckArgs {
  /** The machine that nginx runs on: it asks itself, since DNS may not name it yet. */
  readonly host: Machine;
  /** The name in user ids. */
  readonly serverName: string;
  /** The address that clients use. */
  readonly publicBaseUrl: string;
  /** Whether the machine itself serves the server name. If not, a client that finds nothing there is told of, and no failure. Default: true. */
  readonly servesApex?: boolean;
  /** Path on the host of the authority that the certificate is checked against; empty for the world's own. */
  readonly caPath: string;
  /** Workers that have to work, too. Default: none. */
  readonly workers?: readonly { readonly unit: string; readonly port: number; readonly servesClients: boolean }[];
  /** Changes with whatever was deployed: then it is asked again. */
  readonly revision: pulumi.Input<string>;
}

/** Asks what a client would ask, through nginx and TLS. The update fails when a client would not be served. */
export class HealthCheck extends pulumi.ComponentResource {
  /** Known as soon as a client was served. */
  readonly passed: pulumi.Output<true>;

  constructor(name: string, args: HealthCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:HealthCheck", name, {}, atOnce(opts));

    const { workers = [] } = args;
    const client = new RemoteScript(
      `${name}-client`,
      {
        host: args.host,
        script: "health-check.sh",
        variables: {
          SERVER_NAME: args.serverName,
          BASE_URL: args.publicBaseUrl,
          APEX: (args.servesApex ?? true) ? "served" : "elsewhere",
          CA_FILE: args.caPath,
          REVISION: args.revision,
        },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    this.passed = client.stdout.apply(() => true as const);
    if (workers.length > 0) {
      new RemoteScript(
        `${name}-workers`,
        {
          host: args.host,
          script: "worker-check.sh",
          variables: {
            SERVER_NAME: args.serverName,
            BASE_URL: args.publicBaseUrl,
            CA_FILE: args.caPath,
            WORKERS: workers
              .map(({ unit, port, servesClients }) => [unit, port, servesClients ? "client" : "nobody"].join("|"))
              .join("\n"),
            REVISION: args.revision,
          },
        },
        { parent: this, dependsOn: [...dependencies(opts), client] },
      );
    }

    this.registerOutputs({ passed: this.passed });
  }
}
