/**
 * Writes docs/settings.md and the section `config` of Pulumi.yaml from the schema: `npx tsx docs/settings.ts`. With --check it
 * writes nothing, and fails when either is not as the schema has it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { pulumiConfigSection, settingsPage } from "../config/documentation";

const PAGE = join(__dirname, "settings.md");
const PROJECT = join(__dirname, "..", "Pulumi.yaml");

const read = (file: string) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};
// The section is the last of the file, with the comment in front of it.
const projectHead = read(PROJECT).replace(/^(# Made by `npx tsx docs\/settings\.ts`|config:)[^]*/m, "");
const wanted: readonly (readonly [string, string])[] = [
  [PAGE, settingsPage()],
  [PROJECT, projectHead + pulumiConfigSection()],
];
const stale = wanted.filter(([file, text]) => read(file) !== text);

if (process.argv.includes("--check")) {
  for (const [file] of stale) console.error(`${file} is not what config/schema.ts says: run npx tsx docs/settings.ts`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [file, text] of stale) writeFileSync(file, text);
}
