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
  deployment = await Deployment.prepare("flt", { disk: "3G", synapse: [OLDER, NEWER] });
  await deployment.stack.set({ "synapse.version": OLDER });
  // File systems of their own, which can be made as small as what is in them.
  await deployment.host.run(`
for name in opt var; do
  mkdir -p /mnt/$name
  mount -t tmpfs -o size=3G,mode=755 $name /mnt/$name
  cp -a /$name/. /mnt/$name/
  mount --bind /mnt/$name /$name
  umount /mnt/$name
done`);
});

afterAll(async () => {
  await (client as LabClient | undefined)?.close();
  await (deployment as Deployment | undefined)?.remove();
});

/** What an update says while a fault is there; with what was running still running, and a client served when the fault is gone. */
async function saidOf(make: string, mend: string, meanwhile?: () => Promise<unknown>): Promise<string> {
  const { host, stack } = deployment;
  try {
    await host.run(make);
    const before = await host.processes();
    const started = Date.now();
    const messages = await failureOf(stack.up());
    const seconds = (Date.now() - started) / 1000;
    console.log(`${expect.getState().currentTestName ?? ""}: the sentence came after ${seconds.toFixed(0)} s`);
    expect(await host.processes()).toEqual(before);
    await meanwhile?.();
    return messages;
  } finally {
    await host.run(mend);
  }
}

/** A program on the host that has a port. */
const listen = (port: number) =>
  `systemd-run -q --unit=stranger-${port} python3.11 -m http.server --bind 127.0.0.1 ${port}
for _ in {1..100}; do if (: <>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; then break; fi; sleep 0.1; done`;

/** A file system with only so many megabytes left. */
const leave = (megabytes: number, folder: string) =>
  `mount -o remount,size=$(($(df --output=used -B1 ${folder} | tail -n 1) + ${megabytes * 1_000_000})) ${folder}`;
const enlarge = (folder: string) => `mount -o remount,size=3G ${folder}`;

describe("a first deployment", () => {
  it("that does not reach the machine's package repositories", async () => {
    expect(
      await saidOf(
        "sed -i.bak 's,^baseurl=.*,baseurl=http://127.0.0.1:9/,' /etc/yum.repos.d/lab.repo",
        "mv /etc/yum.repos.d/lab.repo{.bak,}",
      ),
    ).toMatch(
      /Failed to download metadata for repo 'lab'[^]*error: dnf could not install python3.11: check that the machine's repositories can be reached \('dnf repolist -v'\), then run pulumi up again/,
    );
  });

  it("goes through with them", async () => {
    await deployment.stack.up();
    client = await deployment.client();
    await client.login();
    await proveServing(client);
  });
});

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

  it("with the database down, and another password for it", async () => {
    expect(await saidOf("systemctl stop postgresql", "systemctl start postgresql")).toContain(
      "error: PostgreSQL on this machine is down, or does not answer (its words are above): run 'systemctl start postgresql' there",
    );
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

describe("another change of it", () => {
  beforeAll(async () => {
    await deployment.stack.set({ "homeserver.max_upload_size": "62M" });
  });

  it("with /, where nginx has its configuration, full", async () => {
    // All but a little at once, then what is left to the last block, which the file system has counted only after a while.
    const fill = `
fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - 8000000)) /filler
for _ in 1 2 3; do
  cat /dev/zero >>/filler 2>/dev/null || true
  sync /
done`;
    expect(await saidOf(fill, "rm /filler", () => proveServing(client))).toContain(
      "error: there is no room for /etc/nginx/conf.d/matrix-homeserver.conf on the machine (see above; / has 0 MB free), so the old one was left in place: free some space",
    );
  });

  it.each(["/opt", "/var"])("with %s full", async (folder) => {
    const message = await proveServing(client);
    const read = async () => {
      expect(await client.read(message)).toMatch(/^still here/);
    };
    expect(await saidOf(leave(0, folder), enlarge(folder), read)).toContain(
      `error: the machine's disk is full (${folder} has 0 MB free): free some space ('du -xh ${folder} | sort -h | tail' shows what takes it), or enlarge the disk, then run pulumi up again; what failed is that synapse.service could not be changed, and it was left alone`,
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

  it("that has too little room for another release", async () => {
    expect(await saidOf(leave(100, "/opt"), enlarge("/opt"))).toMatch(
      /error: only \d+ MB are free for \/opt on the file system \/opt, and 512 MB are needed: free some space/,
    );
  });

  it("that does not reach the package index", async () => {
    const { stack, host } = deployment;
    await stack.set({ "synapse.indexUrl": "http://127.0.0.1:9/simple/" });
    try {
      expect(await saidOf("true", "true")).toMatch(
        /error: uv, which installs Synapse 1\.163\.2, could not be downloaded: check that the machine can reach the package index \(http:\/\/127\.0\.0\.1:9\/simple\/\), then run pulumi up again/,
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

  it("that has no room for a package says which file system has how much", async () => {
    const { host } = deployment;
    const install = () => step("nginx-packages", (text) => text.replace("PACKAGES=nginx", "PACKAGES=gcc"));
    await host.run(leave(6, "/var"));
    try {
      expect(await install()).toMatch(/error: the machine's disk is full \(.*\/var has \d MB free\): .* dnf could not/);
    } finally {
      await host.run(enlarge("/var"));
    }
    await host.run("fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - 8000000)) /filler");
    try {
      expect(await install()).toMatch(
        /error: the machine's disk is full \(\d+MB more space needed on the \/ filesystem\): .* dnf could not install gcc/,
      );
    } finally {
      await host.run("rm /filler");
    }
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

  describe("of a machine whose clock", () => {
    // The machine's own clock is the lab's, too: a program tells another time there.
    const tell = async (time: string) => {
      await deployment.host.run(
        `printf '#!/bin/bash\nexec /usr/bin/date -d "${time}" "$@"\n' >/usr/local/bin/date; chmod 755 /usr/local/bin/date`,
      );
    };
    afterAll(async () => {
      await deployment.host.run("rm -f /usr/local/bin/date");
    });

    it("was never set says so", async () => {
      await tell("@86400");
      expect(await step("host-facts")).toContain("error: the machine's clock says 1970-01-02");
    });

    it("went back to before its certificate authority began says so", async () => {
      await tell("yesterday");
      expect(await step("tls-selfsigned")).toMatch(
        /error: the certificate authority in \/etc\/pki\/matrix-homeserver begins on [-\d]{10} \d\d:\d\d UTC, and the machine's clock says [-\d]{10} \d\d:\d\d UTC: set the clock/,
      );
    });
  });
});
