// nothing to do: pulumi preview and up without a change, programs that do nothing, Ansible
import { Deployment } from "../test/e2e/deployment";
import type { Stack, Update } from "../test/e2e/stack";
import { ansible } from "./contenders/ansible";
import { bareStack } from "./contenders/bare";
import { freshTarget, type Target } from "./contenders/target";
import { interleaved, main, publish, seconds } from "./lib";

main(async () => {
  const play = await ansible.prepare();
  const deployment = await Deployment.prepare("noop");
  const { host, stack } = deployment;
  const floors: Record<string, Stack> = {};
  let theirs: Target | undefined;
  try {
    const target = (theirs = await freshTarget("noop-a"));
    await play(target);
    await stack.up();
    for (const [name, resources] of Object.entries(await bareOnes(stack))) {
      floors[name] = await bareStack(`${host.name}-${resources.commands}`, host, resources);
    }
    const { result: rounds, logins } = await host.countingLogins(() =>
      interleaved({
        ...Object.fromEntries(Object.entries(floors).map(([name, floor]) => [name, () => unchanged(floor.preview())])),
        "pulumi preview": () => unchanged(stack.preview()),
        "pulumi up": () => unchanged(stack.up()),
        Ansible: () => seconds(() => play(target)),
      }),
    );
    if (logins !== 0) throw new Error(`without a change there were ${logins} connections to the host`);
    publish({ what: "no-op", unit: "s", rounds, comparedWith: "empty", notes: { logins } });
  } finally {
    await theirs?.host.remove();
    for (const floor of Object.values(floors)) await floor.remove();
    await deployment.remove();
  }
});

async function unchanged(update: Promise<Update>): Promise<number> {
  const { changes, seconds: taken } = await update;
  if (Object.keys(changes).length > 0) throw new Error(`not without a change: ${JSON.stringify(changes)}`);
  return taken;
}

/** What Pulumi itself takes: alone, with its two plugins, and with as many commands and passwords as the homeserver has. */
async function bareOnes(homeserver: Stack) {
  const types = (await homeserver.exportState()).map(({ type }) => type);
  const count = (wanted: string) => types.filter((type) => type === wanted).length;
  return {
    empty: { commands: 0, passwords: 0 },
    "a command, a password": { commands: 1, passwords: 1 },
    "as many of them as ours": {
      commands: count("command:remote:Command"),
      passwords: count("random:index/randomPassword:RandomPassword"),
    },
  };
}
