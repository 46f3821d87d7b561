import { z } from "zod";

import { LabClient, type SentMessage } from "../../lab/client/client";
import { ask } from "./ask";
import { type HostKind, LabHost } from "./host";
import { Stack } from "./stack";

const outputs = z.object({
  serverName: z.string(),
  baseUrl: z.string(),
  adminUserId: z.string(),
  adminPassword: z.string(),
  caCertificate: z.string(),
  hostAddress: z.string(),
  nextSteps: z.string(),
});

/** What the program says of a deployment. */
export type Outputs = z.infer<typeof outputs>;

/** In every form that could give it away: a search for the middle finds it even where a shell or JSON has quoted the rest. */
export const DB_PASSWORD_CORE = "Kq7Zv2Rm9Tx4";
/** What a shell, SQL, libpq, YAML, JSON and Pulumi's own syntax could trip over. */
const DB_PASSWORD = `a b:c\\d'e"f$g\`h;i{{j}}%k#l&m@n/o?p=${DB_PASSWORD_CORE}|~é*`;

/** A lab host with a stack of its own, and a client that uses what is deployed. */
export class Deployment {
  private constructor(
    readonly host: LabHost,
    readonly stack: Stack,
    readonly serverName: string,
  ) {}

  /** Boots the host and sets the stack's settings; nothing is deployed yet. */
  static async prepare(suffix: string, kind?: HostKind): Promise<Deployment> {
    const host = await LabHost.create(suffix, kind);
    const serverName = `${host.name}.test`;
    return new Deployment(host, await stackFor(host, host.name, serverName), serverName);
  }

  /** What the last update put out. */
  async outputs(): Promise<Outputs> {
    return await outputsOf(this.stack);
  }

  /** A client of the administrator's, or of somebody else's, who is not logged in yet. */
  async client(somebody?: { readonly user: string; readonly password: string }): Promise<LabClient> {
    const { serverName, hostAddress, caCertificate, adminUserId, adminPassword } = await this.outputs();
    return new LabClient({
      serverName,
      address: hostAddress,
      ca: caCertificate,
      ...(somebody ?? { user: adminUserId, password: adminPassword }),
    });
  }

  /** A client logs in, and gets back what it wrote. */
  async proveServing(): Promise<void> {
    const client = await this.client();
    try {
      await client.login();
      await client.sendAndReadBack(`still here at ${new Date().toISOString()}`);
    } finally {
      await client.close();
    }
  }

  /** Which release of Synapse answers. */
  async release(): Promise<string> {
    const { baseUrl, hostAddress, caCertificate } = await this.outputs();
    const { body } = await ask(`${baseUrl}/_matrix/federation/v1/version`, hostAddress, caCertificate);
    return (JSON.parse(body) as { server: { version: string } }).server.version;
  }

  async remove(): Promise<void> {
    await this.host.remove();
    await this.stack.remove();
  }
}

/** What the last update of a stack put out. */
export async function outputsOf(stack: Stack): Promise<Outputs> {
  return outputs.parse(await stack.outputs());
}

/** A stack with the settings that a first deployment needs, and nothing else. */
export async function stackFor(host: LabHost, name: string, serverName: string): Promise<Stack> {
  const { address, user, hostKey, privateKeyFile, indexUrl, vaultUrl } = host.facts;
  const stack = await Stack.create(name);
  await stack.set({
    serverName,
    "host.address": address,
    "host.user": user,
    "host.hostKey": hostKey,
    "host.privateKeyFile": privateKeyFile,
    "synapse.indexUrl": indexUrl,
    ...(vaultUrl !== undefined && { "host.vaultUrl": vaultUrl }),
  });
  await stack.setSecret("dbPassword", DB_PASSWORD);
  return stack;
}

/** The client's session goes on: a message gets through nginx and Synapse into the database, and one comes back. */
export async function proveServing(client: LabClient): Promise<SentMessage> {
  return await client.send(`still here at ${new Date().toISOString()}`);
}

/** Asks as a client would, ten times a second, while `action` goes on; for how many seconds there was no answer in between. */
export async function outage(
  { baseUrl, hostAddress, caCertificate }: Outputs,
  action: () => Promise<unknown>,
): Promise<number> {
  let going = true;
  const isGoing = () => going;
  let failedMs = 0;
  const asking = (async () => {
    while (isGoing()) {
      const started = Date.now();
      const works = await ask(`${baseUrl}/_matrix/client/versions`, hostAddress, caCertificate).then(
        ({ status }) => status === 200,
        () => false,
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (!works) failedMs += Date.now() - started;
    }
  })();
  try {
    await action();
  } finally {
    going = false;
    await asking;
  }
  return failedMs / 1000;
}
