import { z } from "zod";

import { childrenOf, leaves, metaOf, settingsSchema, unwrap } from "./schema";
import { dotted, setCommand } from "./wording";

const ADVICE = `# Settings

A stack file, \`Pulumi.STACK.yaml\`, holds all that a stack is set to. Write into it by hand, or with the commands below;
what stands inside an object needs \`--path\`:

    pulumi config set serverName example.com
    pulumi config set --path host.address 203.0.113.10
    openssl rand -hex 24 | pulumi config set --secret dbPassword

\`pulumi preview\` checks every setting before anything else happens, and says all that is wrong at once: the setting's name,
what is wrong, and a right example. A name that is no setting is an error too. What is encrypted is never shown, and what has
to be encrypted is refused as plain text.

\`serverName\`, \`dbPassword\`, \`host.address\` and \`host.hostKey\` have no default. A password should come from a pipe, as
above: what stands in a command is in the shell's history.

This page is made from config/schema.ts by \`npx tsx docs/settings.ts\`.
`;

const HOMESERVER = `
Everything else that Synapse can do is set by its own name, as its documentation has it:

    pulumi config set --path homeserver.max_upload_size 100M
    pulumi config set --path homeserver.email.smtp_host mail.example.com
    pulumi config set --path --secret homeserver.email.smtp_pass

Names and types are checked against the description of Synapse 1.163.2, those inside objects too. A setting of a newer release
that is refused for being unknown is let through unchecked once \`synapse.newSettings\` names it. What the program sets itself
(the names, the listeners, the database, the keys) is refused here, with the setting to use in its place. When anything in
\`homeserver\` is encrypted, all that is made of it is a secret: the preview then shows no difference of homeserver.yaml.
`;

/** docs/settings.md, as the schema has it. Pure. */
export function settingsPage(): string {
  const top = [...childrenOf(settingsSchema)];
  const groups = top.filter(([, schema]) => childrenOf(schema).size > 0);
  const single = top.filter(([, schema]) => childrenOf(schema).size === 0);
  return [
    ADVICE,
    section("The server", "", single, []),
    ...groups.map(([name, schema]) => section(`\`${name}\``, introduction(schema), [...childrenOf(schema)], [name])),
    `## What goes into \`homeserver\`\n${HOMESERVER}`,
  ].join("\n");
}

/**
 * Pulumi.yaml's section `config`, as the schema has it. Pure.
 *
 * It names no types, no secrets and nothing as needed: the CLI would stop at the first thing that it finds wrong by them, in
 * words of its own, and nobody would hear of the rest. With an empty default, which counts as not set, all is left to the
 * program.
 */
export function pulumiConfigSection(): string {
  const lines = [...childrenOf(settingsSchema)].flatMap(([name, schema]) => [
    `  ${name}:`,
    `    description: ${JSON.stringify(fullDescription(schema))}`,
    `    default: ${emptyValue(schema)}`,
  ]);
  return [
    "# Made by `npx tsx docs/settings.ts` from config/schema.ts. No types, and an empty default for all: with those the CLI would",
    "# stop at the first mistake, in words of its own; the program finds them all, and says what to do.",
    "config:",
    ...lines,
    "",
  ].join("\n");
}

function section(
  title: string,
  text: string,
  settings: readonly [string, z.core.$ZodType][],
  path: readonly string[],
): string {
  const rows = settings.flatMap(([name, schema]) =>
    leaves(schema, [...path, name]).map(([leaf, inner]) => row(leaf, inner)),
  );
  return [
    `## ${title}`,
    "",
    ...(text === "" ? [] : [text, ""]),
    "| Name | Meaning | Default | Example |",
    "| --- | --- | --- | --- |",
    ...rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`),
    "",
  ].join("\n");
}

function introduction(schema: z.core.$ZodType): string {
  const { description, fallback } = metaOf(schema);
  return fallback === undefined ? description : `${description} Without it: ${fallback}.`;
}

function row(path: string[], schema: z.core.$ZodType): string[] {
  const { description, secret } = metaOf(schema);
  const inner = unwrap(schema);
  const choices =
    inner instanceof z.ZodEnum ? ` One of ${inner.options.map((option) => `\`${option}\``).join(", ")}.` : "";
  const list = inner instanceof z.ZodArray ? " A list." : "";
  return [
    `\`${dotted(path)}\``,
    `${description}${choices}${list}${secret === true ? " **Secret.**" : ""}`,
    defaultOf(schema),
    `\`${setCommand(path)}\``,
  ];
}

function defaultOf(schema: z.core.$ZodType): string {
  const { fallback } = metaOf(schema);
  if (fallback !== undefined) return fallback;
  const value = (schema as z.ZodType).safeParse(undefined);
  if (!value.success) return "none: has to be set";
  const isEmpty = typeof value.data === "object" && value.data !== null && Object.keys(value.data).length === 0;
  return isEmpty ? "none" : `\`${String(value.data)}\``;
}

function fullDescription(schema: z.core.$ZodType): string {
  const { description, secret } = metaOf(schema);
  const names = [...childrenOf(schema).keys()];
  const keys = names.length === 0 ? "" : ` Keys: ${names.join(", ")}.`;
  return `${description}${keys}${secret === true ? " Set it with --secret." : ""}`;
}

function emptyValue(schema: z.core.$ZodType): string {
  const inner = unwrap(schema);
  return inner instanceof z.ZodString ? '""' : inner instanceof z.ZodArray ? "[]" : "{}";
}
