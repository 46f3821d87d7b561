import { DB_PASSWORD_CORE, type Deployment } from "./deployment";
import type { LabHost } from "./host";

const SAMPLES = "/root/e2e-samples";
const MARKER = "/root/e2e-before";

/** Watches the arguments and environments of all processes on the host until `stopWatching`. */
export async function startWatching(host: LabHost): Promise<void> {
  await host.run(`
    touch ${MARKER}
    cat >/root/e2e-watch <<'WATCH'
while [ ! -e /run/e2e-stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
  echo
  sleep 0.03
done | tr '\\0' '\\n' | awk '!seen[$0]++' >${SAMPLES}
WATCH
    systemd-run --quiet --unit e2e-watch bash /root/e2e-watch`);
}

/** Everything that was seen. */
export async function stopWatching(host: LabHost): Promise<string> {
  return await host.run(`
    touch /run/e2e-stop
    while systemctl is-active -q e2e-watch; do sleep 0.1; done
    cat ${SAMPLES}
    rm -f ${SAMPLES} /root/e2e-watch /run/e2e-stop`);
}

/** Everything that must stay secret, by name. */
export async function secretsOf({ stack }: Deployment): Promise<Record<string, string>> {
  const passwords = (await stack.exportState())
    .filter(({ type }) => type === "random:index/randomPassword:RandomPassword")
    .map(({ name, outputs }): [string, string] => [name, String(outputs.result)]);
  return { dbPassword: DB_PASSWORD_CORE, ...Object.fromEntries(passwords) };
}

/** Which of the secrets are in the text. */
export function found(secrets: Readonly<Record<string, string>>, text: string): string[] {
  return Object.keys(secrets).filter((name) => text.includes(secrets[name] ?? ""));
}

/** Files on the host with a secret in them, of those that were touched since the watch began: `path mode owner`. */
export async function filesWith(host: LabHost, secrets: Readonly<Record<string, string>>): Promise<string[]> {
  const patterns = Object.values(secrets).map((secret) => `-e ${secret}`);
  const list = await host.run(`
    find / /run /tmp /dev/shm /var/tmp -xdev -type f -cnewer ${MARKER} -print0 | sort -zu |
      { xargs -0 -r grep -lFZ ${patterns.join(" ")} || true; } | xargs -0 -r stat -c '%n %a %U'`);
  return list.split("\n").filter(Boolean).sort();
}

/** The journal with every field of every entry. */
export async function journal(host: LabHost): Promise<string> {
  return await host.run("journalctl --sync; journalctl -q -o export --no-pager | tr -d '\\0'");
}
