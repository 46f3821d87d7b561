import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Issued } from "../../test/e2e/certificates";
import { REPOSITORY } from "../../test/e2e/host";
import { ending, run } from "../../test/e2e/process";
import { LOCK, proveServing, VERSIONS, type Target } from "./target";

const FOLDER = join(__dirname, "ansible");

/** An Ansible playbook with the same result. */
export const ansible = {
  /** Installs Ansible itself, when that was not done. Answers with a run of the playbook, which can be repeated. */
  async prepare(): Promise<(target: Target, change?: Change) => Promise<void>> {
    const { code, stdout, stderr } = await run("bash", [join(FOLDER, "install.sh")], { timeoutSeconds: 300 });
    if (code !== 0) throw new Error(stderr);
    const python = join(stdout.trim(), "bin/python");
    return (target, change) => play(python, target, change);
  },
  async prove(target: Target): Promise<void> {
    await proveServing(target, "/etc/pki/matrix/server.crt");
  },
};

/** A run of what one change needs. */
export interface Change {
  /** The only tasks of the playbook that are run. Default: all. */
  readonly tags?: string;
  /** `max_upload_size`. Default: 50M. */
  readonly uploadLimit?: string;
  /** `rc_registration_token_validity.burst_count`. Default: a million, which nobody sees. */
  readonly rateLimit?: number;
  /** The server's certificate. Default: the one that the playbook makes. */
  readonly certificate?: Pick<Issued, "certificate" | "key">;
}

async function play(
  python: string,
  target: Target,
  { tags = "all", uploadLimit = "50M", rateLimit = 1e6, certificate }: Change = {},
): Promise<void> {
  const { host, serverName, dbPassword, adminPassword, secrets } = target;
  const { address, user, port, hostKey, privateKeyFile, indexUrl } = host.facts;
  const folder = await mkdtemp(join(tmpdir(), "ansible-"));
  try {
    const knownHosts = join(folder, "known_hosts");
    await writeFile(knownHosts, `${address} ${hostKey}\n`);
    const inventory = {
      homeserver: {
        hosts: {
          [address]: {
            ansible_user: user,
            ansible_port: port,
            ansible_ssh_private_key_file: privateKeyFile,
            ansible_ssh_common_args: `-o UserKnownHostsFile=${knownHosts}`,
            // As Ansible would find out by itself on EL8.
            ansible_python_interpreter: "/usr/libexec/platform-python",
            server_name: serverName,
            db_password: dbPassword,
            admin_password: adminPassword,
            registration_shared_secret: secrets.registration,
            macaroon_secret_key: secrets.macaroon,
            form_secret: secrets.form,
            upload_limit: uploadLimit,
            rate_limit: rateLimit,
            ...(certificate && { certificate: certificate.certificate, certificate_key: certificate.key }),
            index_url: indexUrl,
            requirements: join(REPOSITORY, LOCK),
            python: VERSIONS.python,
            postgresql_stream: VERSIONS.postgresqlStream,
            nginx_stream: VERSIONS.nginxStream,
          },
        },
      },
    };
    await writeFile(join(folder, "inventory.json"), JSON.stringify(inventory), { mode: 0o600 });
    const outcome = await run(
      python,
      ["-m", "ansible", "playbook", "--tags", tags, "-i", join(folder, "inventory.json"), join(FOLDER, "playbook.yml")],
      {
        cwd: folder,
        env: { ...process.env, ANSIBLE_CONFIG: join(FOLDER, "ansible.cfg"), ANSIBLE_HOME: folder },
        timeoutSeconds: 600,
      },
    );
    if (outcome.code !== 0) throw new Error(`the playbook failed:\n${ending(outcome.stdout + outcome.stderr)}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
