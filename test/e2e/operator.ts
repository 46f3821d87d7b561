import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ending, run } from "./process";

/** Somebody with a key pair of their own, who keeps backups in a folder. */
export class Operator {
  private constructor(
    readonly folder: string,
    /** ASCII-armoured. */
    readonly publicKey: string,
  ) {}

  static async create(): Promise<Operator> {
    const folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), "op-"));
    const operator = new Operator(folder, "");
    await operator.bash(
      "mkdir -m 700 gnupg; gpg --batch --quiet --passphrase '' --quick-generate-key backup@example.com default default never",
    );
    return new Operator(folder, await operator.bash("gpg --armor --export backup@example.com"));
  }

  /** Where gpg finds the private key. */
  get env(): Record<string, string> {
    return { GNUPGHOME: join(this.folder, "gnupg") };
  }

  async save(file: string, content: Buffer): Promise<string> {
    await writeFile(join(this.folder, file), content);
    return join(this.folder, file);
  }

  async read(file: string): Promise<Buffer> {
    return await readFile(join(this.folder, file));
  }

  /** Runs a bash script in the folder. Rejects when it fails. */
  async bash(script: string): Promise<string> {
    const { code, stdout, stderr } = await run("bash", ["-euo", "pipefail", "-c", script], {
      cwd: this.folder,
      env: { ...process.env, ...this.env },
      timeoutSeconds: 60,
    });
    if (code !== 0)
      throw new Error(`the operator's script failed with ${code}:\n${script}\n${ending(stdout + stderr)}`);
    return stdout;
  }

  /** A backup like `file`, changed by a script that finds its content in the current folder; its sums are made right again. */
  async alter(file: string, altered: string, script: string): Promise<string> {
    await this.bash(`
rm -rf content && mkdir content
gpg --quiet --decrypt ${file} | tar -x -C content
cd content
grep -v ^sha256= manifest >head
${script}
{ cat head; find database.dump media.sha256 configuration -type f -print0 | sort -z | xargs -0 sha256sum | sed 's/^/sha256=/'; } >manifest
rm head
tar -c manifest media.sha256 database.dump configuration media_store | gpg --batch --quiet --yes --trust-model always -r backup@example.com -o ../${altered} --encrypt`);
    return join(this.folder, altered);
  }

  async remove(): Promise<void> {
    await run("gpgconf", ["--kill", "all"], { env: { ...process.env, ...this.env }, timeoutSeconds: 30 });
    await rm(this.folder, { recursive: true, force: true });
  }
}
