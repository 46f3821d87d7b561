/*
 * Proves that a deployed homeserver works, as a user would: finds it, logs in, sends a message and reads it back.
 *
 *     pulumi stack output --json --show-secrets | node_modules/.bin/tsx lab/client/prove.ts
 */
import { text } from "node:stream/consumers";
import { z } from "zod";
import { LabClient } from "./client";

const outputs = z.object({
  serverName: z.string().min(1),
  baseUrl: z.url(),
  adminUserId: z.string().startsWith("@"),
  adminPassword: z.string().min(1),
  /** None when the certificate is from an authority that everybody trusts. */
  caCertificate: z.string().nullish(),
  hostAddress: z.string().min(1),
  /** The port of hostAddress where the server is to be found, if it is not the one in the URLs. */
  hostPort: z.int().optional(),
});

async function prove(input: string): Promise<void> {
  const stack = readOutputs(input);
  const client = new LabClient({
    serverName: stack.serverName,
    address: stack.hostAddress,
    port: stack.hostPort,
    ca: stack.caCertificate ?? undefined,
    user: stack.adminUserId,
    password: stack.adminPassword,
  });
  try {
    const baseUrl = await client.discover();
    const expected = stack.baseUrl.replace(/\/+$/, "");
    if (baseUrl !== expected) {
      throw new Error(`discovery failed: expected ${stack.serverName} to name ${expected}, but it names ${baseUrl}`);
    }
    console.log(`https://${stack.serverName} says its homeserver is ${baseUrl}`);
    console.log(`logged in as ${await client.login()} over TLS, certificate verified`);
    const greeting = `Hello from ${stack.adminUserId}, ${new Date().toISOString()}`;
    const { roomId, body } = await client.sendAndReadBack(greeting);
    console.log(`sent to ${roomId}: "${greeting}"`);
    console.log(`read back: "${body}"`);
    await client.logout();
    console.log("the homeserver works");
  } finally {
    await client.close();
  }
}

function readOutputs(input: string): z.infer<typeof outputs> {
  let json: unknown;
  try {
    json = JSON.parse(input);
  } catch {
    // The parser's own message quotes its input, and that holds a password.
    throw new Error("input failed: expected the stack's outputs as JSON on standard input, but it is no JSON");
  }
  const parsed = outputs.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new Error(`input failed: expected the stack's outputs on standard input, but ${faults.join("; ")}`);
}

text(process.stdin)
  .then(prove)
  .catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  });
