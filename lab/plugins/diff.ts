import { equal, isObject, isSecret, type Properties, type Value } from "./values";

/** How one property differs. */
export type Change = "ADD" | "DELETE" | "UPDATE";

/** The paths that differ between two sets of inputs, each with its kind of change. */
export function detailedDiff(olds: Properties, news: Properties): Record<string, Change> {
  const changes: Record<string, Change> = {};
  for (const key of unionOfKeys(olds, news)) collect(changes, pathTo("", key), olds[key], news[key]);
  return changes;
}

function collect(changes: Record<string, Change>, path: string, before: Value | undefined, after: Value | undefined) {
  if (equal(before, after)) return;
  if (before === undefined) changes[path] = "ADD";
  else if (after === undefined) changes[path] = "DELETE";
  else if (Array.isArray(before) && Array.isArray(after)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      collect(changes, `${path}[${index}]`, before[index], after[index]);
    }
  } else if (isObject(before) && isObject(after) && !isSecret(before) && !isSecret(after)) {
    for (const key of unionOfKeys(before, after)) collect(changes, pathTo(path, key), before[key], after[key]);
  } else changes[path] = "UPDATE";
}

function unionOfKeys(left: Properties, right: Properties): string[] {
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
}

function pathTo(parent: string, key: string): string {
  if (!/^[A-Za-z_$][\w$]*$/.test(key)) return `${parent}[${JSON.stringify(key)}]`;
  return parent === "" ? key : `${parent}.${key}`;
}
