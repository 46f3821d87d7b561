/* A stack as an operator makes it: with one command, which finds out what it can. */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";

import { LabHost, REPOSITORY } from "./host";
import { run, type Outcome } from "./process";

jest.setTimeout(300_000);

let host: LabHost;
let folder: string;

beforeAll(async () => {
  host = await LabHost.create("new");
  folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), "new-stack-"));
  await mkdir(join(folder, "state"));
});

afterAll(async () => {
  await host.remove();
  await rm(configFile(), { force: true });
  await rm(folder, { recursive: true });
});

const configFile = () => join(REPOSITORY, `Pulumi.${host.name}.yaml`);

async function inLab(command: string, env: Record<string, string> = {}): Promise<Outcome> {
  const script = `. lab/env && export PULUMI_BACKEND_URL=file://${folder}/state && ${command}`;
  return await run("bash", ["-c", script], { cwd: REPOSITORY, env: { ...process.env, ...env }, timeoutSeconds: 120 });
}

const answers = () => ({
  SERVER_NAME: "new.example.net",
  ADDRESS: host.facts.address,
  LOGIN_USER: host.facts.user,
  KEY_FILE: host.facts.privateKeyFile,
});

it("reads the machine's host key, makes a password and writes a stack file with it encrypted", async () => {
  const { code, stderr } = await inLab(`make new-stack STACK=${host.name}`, answers());
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const text = await readFile(configFile(), "utf8");
  const { config } = parse(text) as { config: Record<string, unknown> };
  expect(config).toMatchObject({
    "matrix-homeserver:serverName": "new.example.net",
    "matrix-homeserver:host": {
      address: host.facts.address,
      user: host.facts.user,
      hostKey: host.facts.hostKey,
      privateKeyFile: host.facts.privateKeyFile,
    },
    "matrix-homeserver:dbPassword": { secure: expect.stringMatching(/^v1:/) as string },
  });
});

it("makes a stack whose preview finds nothing wrong with it", async () => {
  const { code, stdout } = await inLab(`pulumi preview --stack ${host.name} --non-interactive`);
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/\d+ to create/) as string });
});

it("leaves a stack file that is there alone, and says what is wrong with a name or a machine", async () => {
  expect((await inLab(`tools/new-stack.sh ${host.name}`, answers())).stderr).toContain("exists already");
  const refused = async (changes: Record<string, string>) =>
    (await inLab(`tools/new-stack.sh ${host.name}-2`, { ...answers(), ...changes })).stderr;
  expect(await refused({ SERVER_NAME: "Example" })).toContain("'Example' is no server name");
  expect(await refused({ ADDRESS: "198.51.100.254" })).toContain("no SSH server answers at 198.51.100.254 port 22");
});
