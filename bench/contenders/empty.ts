import { join } from "node:path";

import { Stack } from "../../test/e2e/stack";

/** A deployed stack of a program without resources, which has a secret setting as every homeserver has. */
export async function emptyStack(name: string): Promise<Stack> {
  const stack = await Stack.create(name, { folder: join(__dirname, "empty"), project: "empty" });
  await stack.setSecret("secret", "nobody's");
  await stack.up();
  return stack;
}
