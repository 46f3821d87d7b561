import * as pulumi from "@pulumi/pulumi";

/**
 * Runs a program and lets it fail in words alone. Pulumi inspects an error with its stack before it shows it, and Node.js 20
 * does not come to an end with stack lines that name a scoped package: half a minute, and a gigabyte, for one wrong setting.
 */
export async function plainly<T>(program: () => Promise<T>): Promise<T> {
  try {
    return await program();
  } catch (error) {
    const plain = new pulumi.RunError(wordsOf(error));
    plain.stack = "";
    throw plain;
  }
}

/** What nobody foresaw has its stack in its words. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, stack = message } = error;
  return pulumi.RunError.isInstance(error) ? message : stack;
}
