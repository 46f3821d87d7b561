import { z } from "zod";

import { childrenOf, metaOf, type SettingPath, settingsSchema, unwrap } from "./schema";
import { asClause, dotted, inWords, notAnObject, setCommand, setTo, shown, unknownSetting } from "./wording";

/** Values as the stack has them, or as far as they were read. */
export type Tree = Readonly<Record<string, unknown>>;

/** Where {@link inspect} says what it finds. */
export interface Findings {
  /** Takes a whole sentence. */
  readonly report: (problem: string) => void;
  /** Whether what is in the setting of that name is encrypted in the stack file. */
  readonly isSecret: (name: string) => boolean;
  /** The machine as ssh-keyscan takes it, for the command that gets its key; `ADDRESS` where it is not known. */
  readonly machine: string;
}

/**
 * The stack's values by the names of the settings: an object or a list comes from the engine as JSON. What is empty counts as
 * not set: it is what Pulumi.yaml gives to a setting that the stack does not have.
 */
export function decode(raw: Readonly<Record<string, string>>): Tree {
  const values = Object.entries(raw).map(([name, text]): [string, unknown] => [name, decodeValue(name, text)]);
  return Object.fromEntries(values.filter(([, value]) => !isEmpty(value)));
}

/**
 * What is right of `value`, with its defaults; all that is not right is reported. zod alone would not do: it leaves the checks
 * of an object aside as soon as one part of it is wrong, and here no problem may hide another.
 */
export function inspect(schema: z.core.$ZodType, value: unknown, path: SettingPath, findings: Findings): unknown {
  const children = childrenOf(schema);
  if (children.size === 0) return inspectLeaf(schema as z.ZodType, value, path, findings);
  if (value === undefined && schema instanceof z.ZodOptional) return undefined;
  if (!isTree(value ?? {})) {
    findings.report(notAnObject(path, value));
    return undefined;
  }
  const given = (value ?? {}) as Tree;
  for (const key of Object.keys(given)) if (!children.has(key)) findings.report(unknownSetting([...path, key]));
  return Object.fromEntries(
    [...children]
      .map(([key, child]) => [key, inspect(child, ownValue(given, key), [...path, key], findings)] as const)
      .filter(([, inner]) => inner !== undefined),
  );
}

/** The value at a path; undefined where there is none. */
export function valueAt(values: unknown, path: SettingPath): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? ownValue(value as Tree, String(key)) : undefined),
    values,
  );
}

function inspectLeaf(schema: z.ZodType, value: unknown, path: SettingPath, findings: Findings): unknown {
  const meta = metaOf(schema);
  const tidied = meta.secret === true ? value : tidy(schema, value);
  const parsed = schema.safeParse(tidied);
  if (parsed.success) return parsed.data;
  const hidden = meta.secret === true || findings.isSecret(String(path[0]));
  const example = setCommand(path).replace("ADDRESS", findings.machine);
  for (const issue of parsed.error.issues) {
    const inner = issue.path as SettingPath;
    const at = [...path, ...inner];
    const wrong = valueAt({ tidied }, ["tidied", ...inner]);
    if (wrong === undefined) {
      findings.report(`${dotted(at)} is missing (${asClause(meta.description)}); for example: ${example}`);
    } else if (issue.code === "invalid_type" && issue.expected === "record") {
      findings.report(notAnObject(path, wrong));
    } else {
      const correction: unknown = issue.code === "custom" && !hidden ? issue.params?.write : undefined;
      const remedy = typeof correction === "string" ? `write: ${setTo(at, correction)}` : `for example: ${example}`;
      findings.report(`${dotted(at)} ${messageOf(issue, wrong)}${hidden ? "" : shown(wrong)}; ${remedy}`);
    }
  }
  return undefined;
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === "invalid_value") return `must be one of ${issue.values.join(", ")}`;
  if (issue.code !== "invalid_type") return issue.message;
  if (value === null) return "is empty: give it a value, or take its line away";
  const type = Array.isArray(value) ? "array" : typeof value;
  // Every number among the settings is a whole one, which zod only says of numbers that are not.
  const expected = inWords(issue.expected === "number" ? "int" : issue.expected);
  if (type === "number" && issue.expected === "int") return `must be ${expected}`;
  const quotes = issue.expected === "string" && type !== "object" && type !== "array" ? ": put it in quotes" : "";
  return `must be ${expected}, not ${inWords(type)}${quotes}`;
}

/** `value` without what is right by all readings but not by the letter: blanks around it, Windows line ends, `"22"` for 22. */
function tidy(schema: z.core.$ZodType, value: unknown): unknown {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value))
    return value.map((item: unknown) => tidy(inner.element, item));
  if (typeof value !== "string") return value;
  const text = value.replaceAll("\r\n", "\n").trim();
  if (inner instanceof z.ZodNumber && /^\d{1,9}$/.test(text)) return Number(text);
  if (inner instanceof z.ZodBoolean && /^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return text;
}

function decodeValue(name: string, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  const schema = ownValue(settingsSchema.shape, name) as z.core.$ZodType | undefined;
  // 0123 or true may well be a text; an object or a list never is.
  const isText = schema !== undefined && unwrap(schema) instanceof z.ZodString;
  return isText && (typeof value !== "object" || value === null) ? text : value;
}

function isEmpty(value: unknown): boolean {
  return value === "" || value === null || (typeof value === "object" && Object.keys(value).length === 0);
}

function isTree(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Not tree[key]: "constructor" is in every object. */
function ownValue(tree: Tree, key: string): unknown {
  return Object.hasOwn(tree, key) ? tree[key] : undefined;
}
