/*
 * Updates whose Pulumi is killed, with all that it started, as when the operator's machine is switched off: again and again, at one
 * resource after the other, first on the way to a first deployment and then in a change of a server that serves. The next one comes to
 * the end with no more help than docs/troubleshooting.md asks for.
 */
import { writeFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { ask } from "../e2e/ask";
import { Deployment, outage } from "../e2e/deployment";
import { failureOf, nameOf, type EngineEvent } from "../e2e/stack";

jest.setTimeout(900_000);

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.prepare("kil");
});

afterAll(async () => {
  await (deployment as Deployment | undefined)?.remove();
});

/** The command on the host that an event says is about to run, or has run. */
function command({ resourcePreEvent, resOutputsEvent }: EngineEvent): { name: string; done: boolean } | undefined {
  const { op, urn } = (resourcePreEvent ?? resOutputsEvent)?.metadata ?? {};
  if (urn?.includes("command:remote:Command::") !== true || op === "same" || op === "read") return undefined;
  return { name: nameOf(urn), done: resOutputsEvent !== undefined };
}

/**
 * Updates until one comes to its end. Each that goes before it is killed when it has done a command that none before it had done, and every
 * fifth as soon as such a command begins.
 *
 * @returns the commands that it was killed at
 */
async function upKilledEverywhere(): Promise<{ before: string[]; after: string[] }> {
  const { stack } = deployment;
  const before: string[] = [];
  const after: string[] = [];
  for (;;) {
    const early = (before.length + after.length) % 5 === 4;
    const { interrupted } = await stack.upInterrupted("SIGKILL", (event) => {
      const next = command(event);
      if (!next || after.includes(next.name)) return false;
      if (!next.done && (!early || before.includes(next.name))) return false;
      (next.done ? after : before).push(next.name);
      return true;
    });
    if (!interrupted) break;
    if (before.length + after.length === 1)
      expect(await failureOf(stack.up())).toContain("the stack is currently locked by 1 lock(s)");
    await stack.cancel();
  }
  console.log(`killed ${after.length} times after ${after.join(", ")}; ${before.length} before ${before.join(", ")}`);
  return { before, after };
}

/** How often Synapse was started since the machine's boot. */
async function starts(): Promise<number> {
  return Number(await deployment.host.run("journalctl --sync; journalctl -q -o cat -u synapse | grep -c '^Started '"));
}

it("a first deployment comes to its end, however often it is killed", async () => {
  const { before, after } = await upKilledEverywhere();
  expect(after).toEqual(expect.arrayContaining(["host-facts", "database-cluster", "synapse-install"]));
  expect(after.length).toBeGreaterThan(20);
  expect(before.length).toBeGreaterThan(4);
  expect(await starts()).toBe(1);
  await deployment.proveServing();
});

it("Pulumi forgets on request what it had left unfinished, and there is nothing to do", async () => {
  const { stack } = deployment;
  expect(await stack.pending()).toBeGreaterThan(0);
  await stack.clearPending();
  expect(await stack.pending()).toBe(0);
  expect((await stack.preview()).changes).toEqual({});
});

it("a change of a server that serves comes to its end, with one restart and clients served around it", async () => {
  const { stack, serverName } = deployment;
  const outputs = await deployment.outputs();
  const { hostAddress, caCertificate } = outputs;
  await stack.set({
    "homeserver.max_upload_size": "77M",
    "synapse.logLevel": "INFO",
    "domains[0]": `matrix.${serverName}`,
    "domains[1]": `synapse.${serverName}`,
    "domains[2]": `chat.${serverName}`,
  });
  const client = await deployment.client();
  try {
    await client.login();
    const message = await client.send("written before the change");
    const before = await starts();
    let killed: string[] = [];
    const seconds = await outage(outputs, async () => {
      killed = (await upKilledEverywhere()).after;
    });
    console.log(`clients had no answer for ${seconds.toFixed(1)} s of it`);
    expect(killed).toEqual(
      expect.arrayContaining([
        "homeserver-homeserver",
        "synapse-service-activation",
        "tls-selfsigned",
        "nginx-activation",
      ]),
    );
    expect(await starts()).toBe(before + 1);
    expect(seconds).toBeLessThan(15);
    expect(await client.read(message)).toBe("written before the change");
    await deployment.proveServing();
    expect((await stack.preview()).changes).toEqual({});
    const chat = await ask(`https://chat.${serverName}/_matrix/client/versions`, hostAddress, caCertificate);
    expect(chat.status).toBe(200);
  } finally {
    await client.close();
  }
});

it("a state whose companion was cut off is whole without it", async () => {
  const { stack } = deployment;
  // Beside a state in a folder that was opened without ?metadata=skip, Pulumi writes this in place: that killed it once.
  const companion = join(stack.folder, "state/.pulumi/stacks/matrix-homeserver", `${stack.name}.json.attrs`);
  await writeFile(companion, "");
  expect(await failureOf(stack.up())).toContain("error: failed to load checkpoint: EOF");
  await rm(companion);
  expect((await stack.preview()).changes).toEqual({});
});
