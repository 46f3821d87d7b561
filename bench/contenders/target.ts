import { randomBytes } from "node:crypto";

import { LabClient } from "../../lab/client/client";
import { LabHost } from "../../test/e2e/host";

/** A fresh host, and what a homeserver on it is to be. */
export interface Target {
  readonly host: LabHost;
  readonly serverName: string;
  readonly dbPassword: string;
  readonly adminPassword: string;
  /** Those of Synapse that nobody has to know. */
  readonly secrets: { readonly registration: string; readonly macaroon: string; readonly form: string };
}

/** What every contender installs, as this program finds it by itself. */
export const VERSIONS = { python: "python3.11", postgresqlStream: "15", nginxStream: "1.22" };

/** The file in requirements/ whose packages every contender installs. */
export const LOCK = "requirements/synapse-1.163.2.txt";

/** Boots a host with nothing on it. */
export async function freshTarget(name: string): Promise<Target> {
  const host = await LabHost.create(name);
  const secret = () => randomBytes(24).toString("hex");
  return {
    host,
    serverName: `${host.name}.test`,
    dbPassword: secret(),
    adminPassword: secret(),
    secrets: { registration: secret(), macaroon: secret(), form: secret() },
  };
}

/** A client finds the server, logs in as the administrator, and gets back what it wrote. `caFile` is on the host. */
export async function proveServing({ host, serverName, adminPassword }: Target, caFile: string): Promise<void> {
  const client = new LabClient({
    serverName,
    address: host.facts.address,
    ca: await host.run(`cat ${caFile}`),
    user: `@admin:${serverName}`,
    password: adminPassword,
  });
  try {
    await client.login();
    await client.sendAndReadBack(`here at ${new Date().toISOString()}`);
  } finally {
    await client.close();
  }
}
