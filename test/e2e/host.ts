import { join, resolve } from "node:path";
import { z } from "zod";

import { ending, run, type Outcome } from "./process";

/** The checkout that is tested. */
export const REPOSITORY = resolve(__dirname, "../..");
const LAB = join(REPOSITORY, "lab/lab.sh");

const facts = z.object({
  name: z.string(),
  address: z.string(),
  port: z.int(),
  user: z.string(),
  hostKey: z.string(),
  privateKeyFile: z.string(),
  indexUrl: z.string(),
  // Of a system whose own mirrors are gone.
  vaultUrl: z.string().optional(),
});

/** Where a lab host is, and how to log in to it. */
export type HostFacts = z.infer<typeof facts>;

/** What kind of host. */
export interface HostKind {
  /** Default: `cloud-user`. */
  readonly loginUser?: "cloud-user" | "root";
  /** The system whose shape it has. Default: `8.9`. */
  readonly flavour?: "8.9" | "8.10" | "centos-8.5";
  /** Size of its disk, as `3G`. Default: the machine's. */
  readonly disk?: string;
  /** The releases of Synapse that it can install. Default: the newest that its system runs. */
  readonly synapse?: readonly string[];
}

/** Units whose main processes the tests keep an eye on. */
export type Unit = "synapse" | "nginx" | "postgresql";

/** Of one run of the tests, so that test/run.sh can remove what an interrupted run left. */
const RUN = process.env.E2E_RUN ?? `t${process.pid}`;

/** A throw-away host of the lab, looked at as root. */
export class LabHost {
  private constructor(readonly facts: HostFacts) {}

  /** Boots a host that did not exist before. */
  static async create(suffix: string, kind: HostKind = {}): Promise<LabHost> {
    const { loginUser = "cloud-user", flavour = "8.9", disk, synapse = [] } = kind;
    const name = `${RUN}-${suffix}`;
    // The first host on a machine waits for its packages to be fetched and made.
    const size = disk === undefined ? [] : ["--disk", disk];
    await lab(["up", name, "--login-user", loginUser, "--flavour", flavour, ...size], 1200, {
      LAB_SYNAPSE: synapse.join(" "),
    });
    const info = await lab(["info", name], 30);
    return new LabHost(facts.parse(JSON.parse(info.stdout)));
  }

  get name(): string {
    return this.facts.name;
  }

  /** Ends the host and removes every trace of it. */
  async remove(): Promise<void> {
    await lab(["down", this.name], 120);
  }

  /** Switches it off and on again, as its own administrator would. */
  async reboot(): Promise<void> {
    await lab(["reboot", this.name], 180);
  }

  /** Runs a command as the login user, just as the program's own commands are run. */
  async login(command: string, input = "", timeoutSeconds = 120): Promise<Outcome> {
    return await run(LAB, ["ssh", this.name, command], { input, timeoutSeconds });
  }

  /** Runs a bash script as root, however it ends. */
  async attempt(script: string, timeoutSeconds?: number): Promise<Outcome> {
    // In a function with an input of its own: bash reads the script from the input that its commands would inherit.
    const program = `set -euo pipefail\nexport LC_ALL=C.UTF-8\ncd /\nmain() {\n${script}\n}\nmain </dev/null\n`;
    return await this.login(this.facts.user === "root" ? "bash -s" : "sudo -n bash -s", program, timeoutSeconds);
  }

  /** Runs a bash script as root. Rejects when it fails. Its output, without the last newline. */
  async run(script: string, timeoutSeconds?: number): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(script, timeoutSeconds);
    if (code !== 0) throw new Error(`on the host, this failed with ${code}:\n${script}\n${ending(stdout + stderr)}`);
    return stdout.replace(/\n$/, "");
  }

  /** Runs an SQL query as the database's administrator; columns are separated by `|`. */
  async sql(query: string, database = "synapse"): Promise<string> {
    return await this.run(`runuser -u postgres -- psql -qAtX -d ${database} <<'SQL'\n${query}\nSQL`);
  }

  /** What `action` gave, and how often somebody logged in over SSH meanwhile. */
  async countingLogins<T>(action: () => Promise<T>): Promise<{ result: T; logins: number }> {
    const before = await this.logins();
    const result = await action();
    // Asking is a login, too.
    return { result, logins: (await this.logins()) - before - 1 };
  }

  private async logins(): Promise<number> {
    // The identifier, because the unit is ssh on some systems and sshd on others.
    const lines = await this.run("journalctl --sync\njournalctl -q -o cat -t sshd | grep -c 'Accepted publickey'");
    return Number(lines);
  }

  /** The process of each unit that stays the same through a reload and not through a restart. */
  async processes(): Promise<Record<Unit, number>> {
    const pids = await this.run(
      "for unit in synapse nginx postgresql; do systemctl show --property MainPID --value $unit; done",
    );
    const [synapse = 0, nginx = 0, postgresql = 0] = pids.split("\n").map(Number);
    return { synapse, nginx, postgresql };
  }

  /** One line that changes with every file that a deployment could have touched. */
  async fingerprint(): Promise<string> {
    return await this.run(
      "find /etc /opt /usr/local /var/lib/pgsql/data/*.conf -printf '%p %T@ %s %m %u %g %l\\n' | sort | sha256sum",
    );
  }
}

async function lab(args: string[], timeoutSeconds: number, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const outcome = await run(LAB, args, { timeoutSeconds, env: { ...process.env, ...env } });
  if (outcome.code !== 0) throw new Error(`lab/lab.sh ${args.join(" ")} failed:\n${ending(outcome.stderr)}`);
  return outcome;
}
