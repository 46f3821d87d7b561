// nothing to do: pulumi preview and up without a change, an empty program, Ansible
import { Deployment } from "../test/e2e/deployment";
import type { Update } from "../test/e2e/stack";
import { ansible } from "./contenders/ansible";
import { emptyStack } from "./contenders/empty";
import { freshTarget, type Target } from "./contenders/target";
import { interleaved, main, publish, seconds } from "./lib";

main(async () => {
  const play = await ansible.prepare();
  const deployment = await Deployment.prepare("noop");
  const { host, stack } = deployment;
  const empty = await emptyStack(`${host.name}-empty`);
  let theirs: Target | undefined;
  try {
    const target = (theirs = await freshTarget("noop-a"));
    await play(target);
    await stack.up();
    const { result: rounds, logins } = await host.countingLogins(() =>
      interleaved({
        "empty preview": () => unchanged(empty.preview()),
        "empty up": () => unchanged(empty.up()),
        "pulumi preview": () => unchanged(stack.preview()),
        "pulumi up": () => unchanged(stack.up()),
        Ansible: () => seconds(() => play(target)),
      }),
    );
    if (logins !== 0) throw new Error(`without a change there were ${logins} connections to the host`);
    publish({ what: "no-op", unit: "s", rounds, comparedWith: "empty preview", notes: { logins } });
  } finally {
    await theirs?.host.remove();
    await empty.remove();
    await deployment.remove();
  }
});

async function unchanged(update: Promise<Update>): Promise<number> {
  const { changes, seconds: taken } = await update;
  if (Object.keys(changes).length > 0) throw new Error(`not without a change: ${JSON.stringify(changes)}`);
  return taken;
}
