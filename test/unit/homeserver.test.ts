/* Homeservers in a program that is not this one: with no more said than has to be, and several of them. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { Homeserver } from "../../components/Homeserver";
import { lockedVersions } from "../../components/SynapseVenv";

import { COMMAND, deploy, openTexts, plain, Secret, type Deployment } from "./mocks";

const VERSION = lockedVersions().at(-1) ?? "";

function homeserver(
  name: string,
  address: string,
  prefix?: string,
  opts?: pulumi.ComponentResourceOptions,
): Homeserver {
  const args = {
    ...(prefix !== undefined && { prefix }),
    serverName: name,
    domains: [`matrix.${name}`],
    host: { address, hostKey: "ssh-ed25519 AAAA", stack: `several/${name}` },
    synapse: { version: VERSION },
    dbPassword: pulumi.secret("correct horse"),
    admin: { localpart: "admin" },
    tls: { mode: "selfsigned" },
  } as const;
  return new Homeserver(name, args, opts);
}

test("a homeserver waits for what it is told to depend on, such as its machine", async () => {
  const deployment = await deploy(() => {
    const machine = new random.RandomPet("machine");
    homeserver("one.example", "192.0.2.1", undefined, { dependsOn: machine });
  });
  expect(deployment.get("host-facts").dependsOn).toContain("machine");
});

describe("two homeservers in one program", () => {
  let two: Deployment;

  beforeAll(async () => {
    two = await deploy(() => {
      homeserver("one.example", "192.0.2.1");
      homeserver("two.example", "192.0.2.2", "two-");
    });
  });

  test("have the same resources, each with a name of its own", () => {
    const names = two.resources.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
    const below = (name: string): string[] =>
      two.resources.filter(({ parent }) => parent === name).flatMap((child) => [child.name, ...below(child.name)]);
    expect(below("one.example").length).toBeGreaterThan(40);
    expect(below("two.example")).toEqual(below("one.example").map((name) => `two-${name}`));
  });

  test("keep to their own machines", () => {
    const commands = two.resources.filter(({ type }) => type === COMMAND);
    for (const { name, inputs, dependsOn } of commands) {
      const isSecond = name.startsWith("two-");
      expect(inputs.connection).toMatchObject({ value: { host: isSecond ? "192.0.2.2" : "192.0.2.1" } });
      expect(dependsOn.filter((other) => other.startsWith("two-") !== isSecond)).toEqual([]);
    }
  });

  test("answer for all of their names, and show no secret", () => {
    const site = two.get("two-nginx-site").inputs.stdin;
    expect(site).not.toBeInstanceOf(Secret);
    for (const name of ["two.example", "matrix.two.example"])
      expect(plain(site)).toMatch(new RegExp(`server_name [^;]*\\b${name}\\b`));
    expect(
      openTexts(two.resources.map(({ inputs }) => inputs)).filter((text) => text.includes("correct horse")),
    ).toEqual([]);
  });
});
