/* Another release of Synapse: beside the running one, checked, in its place, and back again when it does not answer. */
import { Deployment, type Outputs, outage } from "./deployment";
import { changed, failureOf } from "./stack";

jest.setTimeout(300_000);

const OLDER = "1.162.0";
const NEWER = "1.163.2";

let deployment: Deployment;
let outputs: Outputs;

beforeAll(async () => {
  deployment = await Deployment.prepare("upg", { synapse: [OLDER, NEWER] });
  await deployment.stack.set({ "synapse.version": OLDER, "homeserver.rc_login.account.burst_count": 100 });
  await deployment.stack.up();
  outputs = await deployment.outputs();
});

afterAll(async () => {
  await deployment.remove();
});

it("takes the place of the older one, and what was written before is there", async () => {
  const { stack } = deployment;
  expect(await deployment.release()).toBe(OLDER);
  const before = await deployment.client();
  await before.login();
  const message = await before.send("written before the upgrade");

  await stack.set({ "synapse.version": NEWER });
  const preview = await stack.preview();
  expect(changed(preview)).toEqual([
    "health-client",
    "homeserver-homeserver",
    "host-facts",
    "synapse-install",
    "synapse-requirements",
    "synapse-schema-check",
    "synapse-service-activation",
  ]);
  const seconds = await outage(outputs, () => stack.up());
  // What the whole update takes must not be what clients wait: only the service's restart is.
  console.log(`clients had no answer for ${seconds.toFixed(1)} s of the upgrade`);
  expect(await deployment.release()).toBe(NEWER);
  expect(await before.read(message)).toBe("written before the upgrade");
  await before.close();
});

it("keeps the release before, and goes back to it", async () => {
  const { stack, host } = deployment;
  expect((await host.run("ls /opt/synapse/releases")).split("\n").map((name) => name.split("-")[0])).toEqual([
    OLDER,
    NEWER,
  ]);
  await stack.set({ "synapse.version": OLDER });
  await stack.up();
  expect(await deployment.release()).toBe(OLDER);
});

it("is put back when the new one does not start, and the update says so", async () => {
  const { stack, host } = deployment;
  // A release that is whole and installed, and yet does not work on this machine.
  await host.run(
    `echo 'raise SystemExit("broken on purpose")' >"$(echo /opt/synapse/releases/${NEWER}-*/lib/python3*/site-packages/synapse/app)/homeserver.py"`,
  );
  await stack.set({ "synapse.version": NEWER });
  const messages = await failureOf(stack.up());
  expect(messages).toContain("the earlier ones were put back and are serving");
  expect(messages).toContain("broken on purpose");
  expect(await deployment.release()).toBe(OLDER);
  await deployment.proveServing();

  // Nothing has to be done for that server any more.
  const { synapse } = await host.processes();
  await stack.set({ "synapse.version": OLDER });
  await stack.up();
  expect((await host.processes()).synapse).toBe(synapse);
});

it("is refused, with the newer one still serving, when the database is too new for it", async () => {
  const { stack, host } = deployment;
  await host.run(`rm -rf /opt/synapse/releases/${NEWER}-*`);
  await stack.set({ "synapse.version": NEWER });
  await stack.up();
  expect(await deployment.release()).toBe(NEWER);
  const schema = await host.sql("SELECT compat_version FROM schema_compat_version");
  const { synapse } = await host.processes();
  await host.sql("UPDATE schema_compat_version SET compat_version = 999");
  try {
    await stack.set({ "synapse.version": OLDER });
    expect(await failureOf(stack.up())).toContain(`Synapse ${OLDER} cannot read this database any more`);
    expect((await host.processes()).synapse).toBe(synapse);
    expect(await deployment.release()).toBe(NEWER);
  } finally {
    await host.sql(`UPDATE schema_compat_version SET compat_version = ${schema}`);
  }
});
