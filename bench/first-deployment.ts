// a first deployment: this program, the same by hand in one shell, the same by Ansible
import { Deployment } from "../test/e2e/deployment";
import { ansible } from "./contenders/ansible";
import { shell } from "./contenders/shell";
import { freshTarget, type Target } from "./contenders/target";
import { interleaved, main, publish, seconds } from "./lib";

main(async () => {
  const play = await ansible.prepare();
  const rounds = await interleaved({
    "pulumi up": (round) => ours(`ours${round}`),
    "pasted shell": (round) => theirs(`shell${round}`, (target) => shell.deploy(target), shell),
    Ansible: (round) => theirs(`ansible${round}`, play, ansible),
  });
  publish({ what: "first-deployment", unit: "s", rounds, comparedWith: "pulumi up" });
});

/** From the program's start to its end, the client's questions of its health check included. */
async function ours(name: string): Promise<number> {
  const deployment = await Deployment.prepare(name);
  try {
    const taken = await seconds(() => deployment.stack.up());
    await deployment.proveServing();
    return taken;
  } finally {
    await deployment.remove();
  }
}

async function theirs(
  name: string,
  deploy: (target: Target) => Promise<void>,
  { prove }: { prove: (target: Target) => Promise<void> },
): Promise<number> {
  const target = await freshTarget(name);
  try {
    const taken = await seconds(() => deploy(target));
    await prove(target);
    return taken;
  } finally {
    await target.host.remove();
  }
}
