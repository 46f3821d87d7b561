// nothing to do: pulumi preview and up without a change, an empty program
import { Deployment } from "../test/e2e/deployment";
import type { Update } from "../test/e2e/stack";
import { emptyStack } from "./contenders/empty";
import { interleaved, main, publish } from "./lib";

main(async () => {
  const deployment = await Deployment.prepare("noop");
  const { host, stack } = deployment;
  const empty = await emptyStack(`${host.name}-empty`);
  try {
    await stack.up();
    const { result: rounds, logins } = await host.countingLogins(() =>
      interleaved({
        "empty preview": () => unchanged(empty.preview()),
        "empty up": () => unchanged(empty.up()),
        "pulumi preview": () => unchanged(stack.preview()),
        "pulumi up": () => unchanged(stack.up()),
      }),
    );
    publish({ what: "no-op", unit: "s", rounds, comparedWith: "empty preview", notes: { logins } });
  } finally {
    await empty.remove();
    await deployment.remove();
  }
});

async function unchanged(update: Promise<Update>): Promise<number> {
  const { changes, seconds } = await update;
  if (Object.keys(changes).length > 0) throw new Error(`not without a change: ${JSON.stringify(changes)}`);
  return seconds;
}
