import * as pulumi from "@pulumi/pulumi";

import type { Deployed } from "./deployed";

/**
 * Refuses, at preview, a server name other than the one that this stack was deployed with. Every user id, room and signature
 * has the name in it, and Synapse does not start with another one over the same data.
 *
 * The stack's own last outputs say what was deployed. The host has a check of its own (scripts/signing-key.sh), for what this
 * one cannot see: a stack whose state is new. Throws a RunError.
 */
export async function refuseServerNameChange(serverName: string, deployed: Deployed): Promise<void> {
  const before = await deployed.output("serverName");
  if (typeof before !== "string" || before === serverName) return;
  throw new pulumi.RunError(
    `serverName cannot change from ${before} to ${serverName}: every user id, room and signature of this homeserver has ${before} in it. ` +
      `Set it back (pulumi config set serverName ${before}), or make a stack of its own for ${serverName}, on another machine.`,
  );
}
