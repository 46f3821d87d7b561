/*
 * What tools/drift.sh needs besides a login: `program` makes of a stack's exported state the program that looks at the machine,
 * `report STACK` makes of its answer what a person reads, and `names` the resources that have to run again. Each reads standard input.
 */
import { readFileSync } from "node:fs";

import { z } from "zod";

import { composeScript, readScript } from "../components/shell";

/** A script with this line only looks when it is told to. */
export const LOOKS = "# With LOOK set it changes nothing and tells what differs.";
/** A script with this one only asks, or decides once: there is nothing to look at. */
export const FIXED = "# Nothing of it can differ later.";

/** By which Pulumi knows a secret in what it exports. */
const SECRET = "4dabf18193072939515e22adb298388d";
const text = z.union([
  z.string().transform((value) => ({ value, secret: false })),
  z
    .object({ [SECRET]: z.string(), plaintext: z.string() })
    .transform(({ plaintext }) => ({ value: z.string().parse(JSON.parse(plaintext)), secret: true })),
]);
const exported = z.object({
  deployment: z.object({
    resources: z
      .array(
        z.object({ urn: z.string(), type: z.string(), inputs: z.unknown().optional(), delete: z.boolean().optional() }),
      )
      .default([]),
  }),
});
const command = z.object({ create: text, stdin: text });

/** How a resource is looked at. */
type Kind = "file" | "secret-file" | "script" | "unknown";

/** The program for the machine's bash. `state` is what `pulumi stack export --show-secrets` prints. */
export function lookProgram(state: string): string {
  const resources = exported
    .parse(JSON.parse(state))
    .deployment.resources.filter(({ type, delete: isGoing }) => type === "command:remote:Command" && isGoing !== true)
    .flatMap(({ urn, inputs }) => {
      const parsed = command.safeParse(inputs);
      if (!parsed.success) return [];
      const { create, stdin } = parsed.data;
      const kind = kindOf(create.value, stdin);
      return kind === undefined
        ? []
        : [{ name: urn.slice(urn.lastIndexOf("::") + 2), kind, create: create.value, stdin: stdin.value }];
    });
  if (resources.length === 0) throw new Error("nothing is deployed yet: run pulumi up");
  return composeScript(readScript("look.sh"), {
    RESOURCES: resources.map(({ name, kind }, index) => `${index}|${name}|${kind}`).join("\n"),
    ...Object.fromEntries(
      resources.flatMap(({ create, stdin }, index) => [
        [`CREATE_${index}`, create],
        [`TEXT_${index}`, stdin],
      ]),
    ),
  });
}

function kindOf(create: string, stdin: { value: string; secret: boolean }): Kind | undefined {
  if (create.includes("/install-file ")) return stdin.secret ? "secret-file" : "file";
  if (!create.includes(" bash -s")) return undefined;
  // Behind its variables, in which there may be the text of another script.
  const script = stdin.value.slice(stdin.value.lastIndexOf("\nmain() {\n"));
  if (script.includes(`\n${LOOKS}\n`)) return "script";
  return script.includes(`\n${FIXED}\n`) ? undefined : "unknown";
}

/** Something on the machine that is not as the stack says. */
interface Finding {
  readonly resource: string;
  readonly kind: string;
  readonly name: string;
  readonly how: string;
  /** A unified diff, or nothing. */
  readonly difference: string;
}

/** What a person calls the kinds, in the order in which they are told. */
const TITLES: Readonly<Record<string, string>> = {
  lost: "lost, to be had from a backup only",
  package: "packages",
  program: "programs",
  account: "accounts",
  folder: "folders",
  file: "files",
  certificate: "certificates",
  service: "services",
  database: "database",
  firewall: "firewall",
  SELinux: "SELinux",
};

/** The findings, and what could not be looked at. Throws when the answer is not whole. */
function read(answer: string): { findings: Finding[]; unlooked: Finding[] } {
  const lines = answer.trimEnd().split("\n");
  if (lines.pop() !== "end") throw new Error("the machine's answer is not whole");
  const all = lines.map((line): Finding => {
    const [resource = "", kind = "", name = "", how = "", difference = ""] = line.split("\t");
    return { resource, kind, name, how, difference: Buffer.from(difference, "base64").toString("utf8") };
  });
  return {
    findings: all
      .filter(({ kind }) => kind !== "unlooked")
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    unlooked: all.filter(({ kind }) => kind === "unlooked"),
  };
}

/** What a person reads. */
export function report(answer: string, stack: string): string {
  const { findings, unlooked } = read(answer);
  const groups = Object.entries(TITLES).flatMap(([kind, title]) => {
    const found = findings.filter((finding) => finding.kind === kind);
    return found.length === 0 ? [] : [{ title, found }];
  });
  const lines = groups.flatMap(({ title, found }) => [
    title,
    ...found.flatMap(({ name, how, difference }) => [`  ${name}: ${how}`, ...indented(difference)]),
  ]);
  if (unlooked.length > 0) lines.push("not looked at", ...unlooked.map(({ name, how }) => `  ${name}: ${how}`));
  const total = `${findings.length} ${findings.length === 1 ? "difference" : "differences"}`;
  lines.push(
    findings.length === 0
      ? `no difference from what the stack ${stack} says${unlooked.length === 0 ? "" : ", as far as was looked"}`
      : `${total} from what the stack ${stack} says (${groups.map(({ title, found }) => `${title.split(",")[0] ?? ""}: ${found.length}`).join(", ")}). Nothing was changed.`,
  );
  if (repairable(findings).length > 0) lines.push(`To put them right: make reconcile STACK=${stack}`);
  if (findings.some(({ kind }) => kind === "lost"))
    lines.push(
      "What is lost comes back from a backup, and an update would make another in its place: see docs/backup.md.",
    );
  return `${lines.join("\n")}\n`;
}

function indented(difference: string): string[] {
  return difference === ""
    ? []
    : difference
        .trimEnd()
        .split("\n")
        .map((line) => `    ${line}`);
}

function repairable(findings: readonly Finding[]): string[] {
  const lost = new Set(findings.filter(({ kind }) => kind === "lost").map(({ resource }) => resource));
  return [...new Set(findings.map(({ resource }) => resource))].filter((resource) => !lost.has(resource)).sort();
}

/** 0: nothing differs; 2: something does; 1: nothing that was looked at does, and not all was. */
function exitCode(answer: string): number {
  const { findings, unlooked } = read(answer);
  return findings.length > 0 ? 2 : unlooked.length > 0 ? 1 : 0;
}

function main([task, stack = ""]: string[]): void {
  const input = readFileSync(0, "utf8");
  switch (task) {
    case "program":
      process.stdout.write(lookProgram(input));
      break;
    case "report":
      process.stdout.write(report(input, stack));
      process.exitCode = exitCode(input);
      break;
    case "names":
      process.stdout.write(
        repairable(read(input).findings)
          .map((name) => `${name}\n`)
          .join(""),
      );
      break;
  }
}

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`drift: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
