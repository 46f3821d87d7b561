/*
 * What goes wrong on a machine that serves: each fault ends in one sentence, the server goes on, and once the cause is gone the next
 * update goes through.
 */
import type { LabClient } from "../../lab/client/client";
import { Deployment, proveServing } from "./deployment";
import { failureOf } from "./stack";

jest.setTimeout(600_000);

const OLDER = "1.162.0";
const NEWER = "1.163.2";

let deployment: Deployment;
let client: LabClient;

beforeAll(async () => {
  deployment = await Deployment.prepare("flt", { synapse: [OLDER, NEWER] });
  await deployment.stack.set({ "synapse.version": OLDER });
  await deployment.stack.up();
  client = await deployment.client();
  await client.login();
});

afterAll(async () => {
  await (client as LabClient | undefined)?.close();
  await (deployment as Deployment | undefined)?.remove();
});

/** What an update says while a fault is there; with what was running still running, and a client served when the fault is gone. */
async function saidOf(make: string, mend: string): Promise<string> {
  const { host, stack } = deployment;
  try {
    await host.run(make);
    const before = await host.processes();
    const started = Date.now();
    const messages = await failureOf(stack.up());
    const seconds = (Date.now() - started) / 1000;
    console.log(`${expect.getState().currentTestName ?? ""}: the sentence came after ${seconds.toFixed(0)} s`);
    expect(await host.processes()).toEqual(before);
    return messages;
  } finally {
    await host.run(mend);
  }
}

/** A program on the host that has a port. */
const listen = (port: number) =>
  `systemd-run -q --unit=stranger-${port} python3.11 -m http.server --bind 127.0.0.1 ${port}
for _ in {1..100}; do if (: <>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; then break; fi; sleep 0.1; done`;

// One change waits through all of them: each update gets as far as the fault lets it.
describe("a change of a setting", () => {
  beforeAll(async () => {
    await deployment.stack.set({ "homeserver.max_upload_size": "61M" });
  });

  it("with the database down", async () => {
    expect(await saidOf("systemctl stop postgresql", "systemctl start postgresql")).toMatch(
      /error: the database does not let Synapse in \(its answer is above\): see that PostgreSQL runs .*; nothing was changed, and synapse.service was left alone/,
    );
  });

  it("with the database's password changed by hand", async () => {
    const byHand = `runuser -u postgres -- psql -qc "ALTER ROLE synapse PASSWORD 'by hand'"`;
    const messages = await saidOf(byHand, "true");
    expect(messages).toMatch(
      /password authentication failed[^]*error: the database does not let Synapse in .* set another dbPassword/,
    );
    await deployment.stack.setSecret("dbPassword", "set anew: it's good");
  });

  it("with Synapse's port taken while it was off", async () => {
    expect(await saidOf(`systemctl stop synapse\n${listen(8008)}`, "systemctl stop stranger-8008")).toMatch(
      /error: another program, python3.11 \(process \d+\) has port 8008, which synapse.service needs: stop it, then run pulumi up again; nothing was changed/,
    );
  });

  it("goes through without these", async () => {
    await deployment.stack.up();
    await proveServing(client);
  });
});

describe("another port for nginx", () => {
  beforeAll(async () => {
    await deployment.stack.set({ "nginx.federationPort": true });
  });

  it("that another program has leaves it with what it serves", async () => {
    expect(await saidOf(listen(8448), "systemctl stop stranger-8448")).toMatch(
      /bind\(\) to .*:8448 failed[^]*error: nginx did not take its new configuration and goes on with the earlier one/,
    );
    await proveServing(client);
  });

  it("cannot be had when another program took nginx's own while it was off", async () => {
    expect(await saidOf(`systemctl stop nginx\n${listen(443)}`, "systemctl stop stranger-443")).toMatch(
      /error: nginx did not start: see 'journalctl -u nginx'; when another program has port 80 or 443/,
    );
  });

  it("is there with the next update, which starts nginx", async () => {
    await deployment.stack.up();
    await proveServing(client);
  });
});

describe("an upgrade", () => {
  beforeAll(async () => {
    await deployment.stack.set({ "synapse.version": NEWER });
  });

  it("that does not reach the package index", async () => {
    const { stack, host } = deployment;
    await stack.set({ "synapse.indexUrl": "http://127.0.0.1:9/simple/" });
    try {
      expect(await saidOf("true", "true")).toMatch(
        /error: pip could not install Synapse 1\.163\.2: check that the machine can reach the package index \(http:\/\/127\.0\.0\.1:9\/simple\/\), then run pulumi up again/,
      );
    } finally {
      await stack.set({ "synapse.indexUrl": host.facts.indexUrl });
    }
    await proveServing(client);
  });

  it("goes through without these, and nothing is left to do", async () => {
    await deployment.stack.up();
    await proveServing(client);
    expect((await deployment.stack.preview()).changes).toEqual({});
  });
});

describe("a step", () => {
  /** Runs a resource's own command once more, changed a little. */
  async function step(name: string, change: (text: string) => string = (text) => text): Promise<string> {
    const { inputs } = (await deployment.stack.exportState()).find((resource) => resource.name === name) ?? {};
    if (!inputs) throw new Error(`there is no resource ${name}`);
    const { code, stderr } = await deployment.host.login(change(String(inputs.create)), change(String(inputs.stdin)));
    expect(code).not.toBe(0);
    return stderr;
  }

  describe("while another dnf holds its lock", () => {
    // A repository that takes the connection and then says nothing.
    beforeAll(async () => {
      await deployment.host.run(`
systemd-run -q --unit=silent python3.11 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 9990)); time.sleep(600)'
for _ in {1..50}; do if (: <>/dev/tcp/127.0.0.1/9990) 2>/dev/null; then break; fi; sleep 0.1; done
systemd-run -q --unit=other-dnf dnf --repofrompath=silent,http://127.0.0.1:9990/ --refresh makecache
for _ in {1..100}; do if [[ -e /var/cache/dnf/metadata_lock.pid ]]; then exit 0; fi; sleep 0.1; done
exit 1`);
    });
    afterAll(async () => {
      await deployment.host.run("systemctl kill -s KILL other-dnf silent");
    });

    it("waits for as long as it may, and says who is in the way", async () => {
      const sentence = await step("nginx-packages", (text) =>
        text.replace("PACKAGES=nginx", "PACKAGES=other").replace("LOCK_WAIT_SECONDS=300", "LOCK_WAIT_SECONDS=3"),
      );
      expect(sentence).toContain("error: another dnf has held its lock for 3 s: let it finish or end it (ps -C dnf)");
    });

    it("is ended when it takes too long, and says so", async () => {
      const sentence = await step("nginx-packages", (text) =>
        text.replace("PACKAGES=nginx", "PACKAGES=other").replace("--kill-after=30 900", "--kill-after=30 2"),
      );
      expect(sentence).toContain("error: this step took longer than it may, and was ended");
    });

    it("waits for an earlier run of itself, and says which process that is", async () => {
      const packages = (text: string) => text.replace("PACKAGES=nginx", "PACKAGES=other");
      const first = step("nginx-packages", (text) => packages(text).replace("kill-after=30 900", "kill-after=30 20"));
      await deployment.host.run(
        "until flock -n /run/lock/matrix-homeserver-step-packages true; [[ $? != 0 ]]; do sleep 0.1; done",
      );
      const second = await step("nginx-packages", (text) => packages(text).replace("flock -w 600", "flock -w 1"));
      expect(second).toMatch(/error: an earlier update, which was cut off, has been at work on this step .*'kill \d+'/);
      await first;
    });
  });

  it("of a user who may no longer use sudo says how to give that back", async () => {
    await deployment.host.run(`
mv /etc/sudoers.d/90-cloud-init-users /root/
systemd-run -q --unit=mend bash -c 'until [[ -e /tmp/mend ]]; do sleep 0.1; done; mv /root/90-cloud-init-users /etc/sudoers.d/; rm /tmp/mend'`);
    try {
      expect(await step("host-facts")).toContain(
        "error: cloud-user may not use sudo without a password on this machine: as root, run",
      );
    } finally {
      await deployment.host.login("touch /tmp/mend; while [ -e /tmp/mend ]; do sleep 0.1; done");
    }
  });

  it("of a machine whose clock was never set says so", async () => {
    // The machine's own clock is the lab's, too: a program tells another time there.
    await deployment.host.run(
      `printf '#!/bin/bash\nexec /usr/bin/date -d @86400 "$@"\n' >/usr/local/bin/date; chmod 755 /usr/local/bin/date`,
    );
    try {
      expect(await step("host-facts")).toContain("error: the machine's clock says 1970-01-02");
    } finally {
      await deployment.host.run("rm /usr/local/bin/date");
    }
  });
});
