import { join } from "node:path";

import type { LabHost } from "../../test/e2e/host";
import { Stack } from "../../test/e2e/stack";

/** A deployed stack of a program that has nothing but so many resources, and a secret setting as every homeserver has. */
export async function bareStack(
  name: string,
  { facts }: LabHost,
  resources: { readonly commands: number; readonly passwords: number },
): Promise<Stack> {
  const stack = await Stack.create(name, { folder: join(__dirname, "bare"), project: "bare" });
  const { address, user, hostKey, privateKeyFile } = facts;
  await stack.set({ address, user, hostKey, privateKeyFile, ...resources });
  await stack.setSecret("secret", "nobody's");
  await stack.up();
  return stack;
}
