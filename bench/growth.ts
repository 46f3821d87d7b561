// growth: time and memory of a preview of 1 to 20 homeservers in one program, and of one with 1 to 50 workers; dry, nothing is deployed
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { treeOf } from "../test/e2e/process";
import { Stack } from "../test/e2e/stack";
import { interleaved, main, median, printTable, publish } from "./lib";

/** More workers than the program lets one have: a preview does not know what PostgreSQL can bear. */
const SIZES = [
  ...[1, 2, 5, 10, 20].map((homeservers) => ({ homeservers, workers: 0 })),
  ...[1, 5, 10, 20, 50].map((workers) => ({ homeservers: 1, workers })),
].map((size) => ({
  ...size,
  name: `${size.homeservers}${size.workers > 0 ? ` with ${size.workers} workers` : ""}`,
}));

main(async () => {
  const program = { folder: join(__dirname, "contenders/many"), project: "many" };
  const stacks: { name: string; stack: Stack }[] = [];
  try {
    for (const { homeservers, workers, name } of SIZES) {
      const stack = await Stack.create(`many-${homeservers}-${workers}`, program);
      stacks.push({ name, stack });
      await stack.set({ homeservers, workers });
    }
    const memory: Partial<Record<string, number[]>> = {};
    const resources: Record<string, number> = {};
    const rounds = await interleaved(
      Object.fromEntries(
        stacks.map(({ name, stack }) => [
          name,
          async () => {
            const { result, megabytes } = await withPeakMemory(() => stack.preview());
            (memory[name] ??= []).push(megabytes);
            resources[name] = Object.keys(result.changes).length;
            return result.seconds;
          },
        ]),
      ),
    );
    publish({ what: "growth", unit: "s", rounds, comparedWith: "1", notes: { resources, memoryMB: memory } });
    printTable([
      ["homeservers", "resources", "peak memory, MB"],
      ...SIZES.map(({ name }) => [name, String(resources[name]), median(memory[name] ?? []).toFixed(0)]),
    ]);
  } finally {
    for (const { stack } of stacks) await stack.remove();
  }
});

/** Resident memory of all processes that are started meanwhile, and of those that they start, at its highest. */
async function withPeakMemory<T>(action: () => Promise<T>): Promise<{ result: T; megabytes: number }> {
  let [peak, done] = [0, false];
  const watching = (async () => {
    while (!done) {
      peak = Math.max(peak, await descendantsMemory());
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  try {
    return { result: await action(), megabytes: peak };
  } finally {
    done = true;
    await watching;
  }
}

async function descendantsMemory(): Promise<number> {
  const [, ...descendants] = treeOf(process.pid);
  const sizes = await Promise.all(
    descendants.map(async (pid) => {
      // A process may be gone by now.
      const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
      return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
    }),
  );
  return sizes.reduce((sum, megabytes) => sum + megabytes, 0);
}
