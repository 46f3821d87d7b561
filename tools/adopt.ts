/**
 * Gives the stack STACK the settings with which it takes over the server that standard input describes, as scripts/adopt-read.sh
 * does; prints what a person should know of them. Secrets go to pulumi by standard input.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

import type { Found } from "../config/adoption/found";
import { planAdoption, report } from "../config/adoption/plan";

const { STACK: stack = "", CONFIG_FILE: configFile, ACME_EMAIL: acmeEmail } = process.env;

const found = JSON.parse(readFileSync(0, "utf8")) as Found;
const plan = planAdoption(found, {
  now: new Date(),
  ...(acmeEmail !== undefined && acmeEmail !== "" && { acmeEmail }),
});
if ("problems" in plan) {
  for (const problem of plan.problems) console.error(`adopt: ${problem}`);
  process.exit(1);
}

const before = pulumi(["get", "serverName"], { mayFail: true }).trim();
if (before !== "" && before !== found.homeserver.server_name) {
  console.error(
    `adopt: the stack ${stack} is ${before}, and the server on its machine is ${found.homeserver.server_name}: use a stack of its own.`,
  );
  process.exit(1);
}
const values = Object.entries(plan.settings).map(([name, value]): [string, object] => [
  `matrix-homeserver:${name}`,
  typeof value === "string"
    ? { value, secret: false }
    : { value: JSON.stringify(value), objectValue: value, secret: false },
]);
pulumi(["set-all", "--json", JSON.stringify(Object.fromEntries(values))]);
// Empty where Pulumi.yaml alone has it.
const hasPassword = pulumi(["get", "dbPassword"], { mayFail: true }).trim() !== "";
const secrets = { ...(!hasPassword && { dbPassword: randomBytes(24).toString("hex") }), ...plan.secrets };
for (const [path, value] of Object.entries(secrets)) pulumi(["set", "--secret", "--path", path], { input: value });
console.log(report(plan));

function pulumi(words: string[], { input = "", mayFail = false } = {}): string {
  const [command = "", ...rest] = words;
  const file = configFile === undefined || configFile === "" ? [] : ["--config-file", configFile];
  const { status, stdout, stderr } = spawnSync("pulumi", ["config", command, "--stack", stack, ...file, ...rest], {
    input,
    encoding: "utf8",
  });
  if (status !== 0 && !mayFail) {
    console.error(`adopt: pulumi config ${command} failed: ${stderr.trim()}`);
    process.exit(1);
  }
  return status === 0 ? stdout : "";
}
