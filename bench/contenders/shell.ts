import { readFileSync } from "node:fs";
import { join } from "node:path";

import { composeScript } from "../../components/shell";
import { REPOSITORY } from "../../test/e2e/host";
import { LOCK, proveServing, VERSIONS, type Target } from "./target";

/** The blog post: commands pasted into one root shell over SSH, one after the other. */
export const shell = {
  async deploy({ host, serverName, dbPassword, adminPassword }: Target): Promise<void> {
    const program = composeScript(readFileSync(join(__dirname, "shell/deploy.sh"), "utf8"), {
      SERVER_NAME: serverName,
      DB_PASSWORD: dbPassword,
      ADMIN_PASSWORD: adminPassword,
      INDEX_URL: host.facts.indexUrl,
      REQUIREMENTS: readFileSync(join(REPOSITORY, LOCK), "utf8"),
      PYTHON: VERSIONS.python,
      POSTGRESQL_STREAM: VERSIONS.postgresqlStream,
      NGINX_STREAM: VERSIONS.nginxStream,
    });
    const { code, stdout, stderr } = await host.login("sudo -n bash -s", program, 300);
    if (code !== 0) throw new Error(`the shell's commands failed with ${code}:\n${(stdout + stderr).slice(-4000)}`);
  },
  async prove(target: Target): Promise<void> {
    await proveServing(target, "/etc/pki/matrix/server.crt");
  },
};
