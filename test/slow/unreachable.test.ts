/* A machine whose firewall drops what comes: an update gives up in time, and says what to look at. */
import { Deployment } from "../e2e/deployment";
import { failureOf } from "../e2e/stack";

jest.setTimeout(400_000);

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.prepare("unr");
});

afterAll(async () => {
  await (deployment as Deployment | undefined)?.remove();
});

it("is given up after some minutes, with the settings that name it", async () => {
  const { host, stack } = deployment;
  await host.run(`
nft add table inet silent
nft add chain inet silent input '{ type filter hook input priority -10; }'
nft add rule inet silent input tcp dport 2222 drop`);
  await stack.set({ "host.port": 2222 });
  const started = Date.now();
  const messages = await failureOf(stack.up());
  const seconds = (Date.now() - started) / 1000;
  console.log(`a machine that drops what comes was given up after ${seconds.toFixed(0)} s`);
  // It dials twenty times; a machine that is busy may take longer about it.
  expect(seconds).toBeLessThan(300);
  const { address } = host.facts;
  expect(messages).toContain(
    `warning: nothing answers at ${address}, port 2222 (host.address, host.port): see that the machine is on, that this is its address, and that no firewall, its own or its provider's, drops SSH from here`,
  );
  expect(messages).toContain(`after 20 failed attempts: dial tcp ${address}:2222: i/o timeout`);
});
