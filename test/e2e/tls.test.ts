/* Certificates as an operator gets them: from an ACME server and renewed, from the machine itself, from a file. */
import { AcmeServer } from "./acme";
import { issue, servedCertificate } from "./certificates";
import { Deployment } from "./deployment";
import { changed, failureOf } from "./stack";

jest.setTimeout(300_000);

let deployment: Deployment;
let acme: AcmeServer;

const RENEW = "/usr/local/libexec/matrix-homeserver/matrix-homeserver-acme";

beforeAll(async () => {
  deployment = await Deployment.prepare("tls");
  acme = await AcmeServer.start(deployment.host.facts.address);
});

afterAll(async () => {
  await Promise.all([deployment.remove(), acme.stop()]);
});

const served = () => servedCertificate(deployment.host.facts.address, `matrix.${deployment.serverName}`);

describe("from an ACME server", () => {
  it("is issued by the first update, and clients verify it", async () => {
    const { stack } = deployment;
    await stack.set({ "tls.mode": "acme", "tls.acmeEmail": "root@example.com", "tls.acmeDirectory": acme.directory });
    await stack.set({ "tls.ca": acme.ca, "nginx.hsts": true });
    // Synapse lets an account log in a few times an hour only.
    await stack.set({ "homeserver.rc_login.account.burst_count": 100, "homeserver.rc_login.address.burst_count": 100 });
    await stack.up();
    await deployment.proveServing();
    expect((await served()).issuer.CN).toMatch(/Pebble/);
    expect((await served()).subjectaltname?.split(", ").sort()).toEqual(
      ["", "matrix.", "synapse."].map((prefix) => `DNS:${prefix}${deployment.serverName}`).sort(),
    );
  });

  it("is left alone by a second update", async () => {
    const { result, logins } = await deployment.host.countingLogins(() => deployment.stack.up());
    expect(changed(result)).toEqual([]);
    expect(logins).toBe(0);
  });

  it("is looked at every day, and left alone while it is not due", async () => {
    const { host } = deployment;
    const { serialNumber } = await served();
    expect(await host.run("systemctl is-active matrix-homeserver-acme.timer")).toBe("active");
    expect(await host.run("systemctl is-enabled matrix-homeserver-acme.timer")).toBe("enabled");
    await host.run("systemctl start matrix-homeserver-acme.service");
    expect((await served()).serialNumber).toBe(serialNumber);
  });

  it("is renewed without a restart, and served at once", async () => {
    const { host } = deployment;
    const before = { processes: await host.processes(), serial: (await served()).serialNumber };
    await host.run(`${RENEW} --force`);
    // nginx starts new workers for the new certificate; the old ones finish what they have.
    await host.run("sleep 1");
    expect((await served()).serialNumber).not.toBe(before.serial);
    expect(await host.processes()).toEqual(before.processes);
    await deployment.proveServing();
  });

  it("stays when the ACME server cannot be reached, and the update says why", async () => {
    const { stack } = deployment;
    const { serialNumber } = await served();
    await stack.set({ "tls.acmeDirectory": "https://198.51.100.1:9/dir" });
    expect(await failureOf(stack.up())).toContain("the ACME server https://198.51.100.1:9/dir gave no certificate for");
    expect((await served()).serialNumber).toBe(serialNumber);
    await stack.set({ "tls.acmeDirectory": acme.directory });
    await stack.up();
    await deployment.proveServing();
  });
});

describe("from the machine itself", () => {
  it("takes the place of the ACME server's, whose timer goes", async () => {
    const { stack, host } = deployment;
    for (const name of ["acmeEmail", "acmeDirectory", "ca"]) await stack.unset(`tls.${name}`);
    await stack.set({ "tls.mode": "selfsigned" });
    await stack.up();
    await deployment.proveServing();
    expect(await host.run("systemctl list-timers --all --plain --no-legend 'matrix-homeserver-*'")).toMatch(
      /matrix-homeserver-selfsigned\.timer/,
    );
    expect((await host.attempt("systemctl cat matrix-homeserver-acme.timer")).code).not.toBe(0);
  });

  it("is renewed by its own timer's program", async () => {
    const { host } = deployment;
    const before = (await served()).serialNumber;
    await host.run("/usr/local/libexec/matrix-homeserver/matrix-homeserver-selfsigned --force");
    await host.run("sleep 1");
    expect((await served()).serialNumber).not.toBe(before);
    await deployment.proveServing();
  });
});

describe("from a file", () => {
  it("is served after an update, and another one after the next", async () => {
    const { stack, host, serverName } = deployment;
    const names = [serverName, `*.${serverName}`];
    const [first, second] = [await issue(names), await issue(names)];
    await stack.set({ "tls.mode": "provided", "tls.certificate": first.certificate, "tls.ca": first.ca });
    await stack.setSecret("tls.key", first.key);
    await stack.up();
    const { fingerprint256 } = await served();
    expect((await served()).issuer.CN).toBe("Authority of the tests");
    await deployment.proveServing();

    const processes = await host.processes();
    await stack.set({ "tls.certificate": second.certificate, "tls.ca": second.ca });
    await stack.setSecret("tls.key", second.key);
    expect(changed(await stack.up())).toEqual([
      "health-client",
      "nginx-activation",
      "tls-certificate",
      "tls-key",
      "tls-provided-ca",
    ]);
    expect((await served()).fingerprint256).not.toBe(fingerprint256);
    expect(await host.processes()).toEqual(processes);
    expect(await host.run("stat -c '%a %U' /etc/pki/matrix-homeserver/provided.key")).toBe("600 root");
  });
});
