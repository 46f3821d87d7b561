import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";

import { REPOSITORY } from "../test/e2e/host";

const RESULTS = join(REPOSITORY, "bench/results.jsonl");

/** One number a round, by who or what was measured. */
export type Rounds = Readonly<Record<string, readonly number[]>>;

/** What was measured, and how it is to be read. */
export interface Measurement {
  /** Name of the measurement: the file in bench/, or that and what part of it. */
  readonly what: string;
  /** Of the numbers, for example `s`. */
  readonly unit: string;
  readonly rounds: Rounds;
  /** Whose median the others are divided by. Default: no ratios. */
  readonly comparedWith?: string;
  /** What else a reader has to know, as numbers or words. Default: nothing. */
  readonly notes?: Readonly<Record<string, unknown>>;
}

/** How many rounds were asked for (`ROUNDS`); at least one. */
export function roundsWanted(otherwise = 3): number {
  const rounds = Number(process.env.ROUNDS ?? otherwise);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error("ROUNDS must be a whole number, 1 or more");
  return rounds;
}

/**
 * Measures every contender once a round, one after the other, so that what else the machine does meets all of them alike. The
 * order turns with every round.
 */
export async function interleaved(
  contenders: Readonly<Record<string, (round: number) => Promise<number>>>,
  rounds = roundsWanted(),
): Promise<Rounds> {
  const names = Object.keys(contenders);
  const measured: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const name of rotated(names, round - 1)) {
      const number = await contenders[name]?.(round);
      if (number === undefined) continue;
      measured[name]?.push(number);
      console.error(`bench: round ${round} of ${rounds}: ${name} ${number.toFixed(1)}`);
    }
  }
  return measured;
}

/** Seconds that `action` took. */
export async function seconds(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return (performance.now() - started) / 1000;
}

/** Prints the table, and appends a line of JSON to the results file. */
export function publish({ what, unit, rounds, comparedWith, notes }: Measurement): void {
  const medians = mapValues(rounds, median);
  const reference = comparedWith === undefined ? undefined : medians[comparedWith];
  const ratios = reference === undefined ? undefined : mapValues(medians, (value) => rounded(value / reference));
  printTable([
    [what, `median ${unit}`, ...(ratios ? ["ratio"] : []), `each round, ${unit}`],
    ...Object.entries(rounds).map(([name, numbers]) => [
      name,
      String(rounded(medians[name] ?? NaN)),
      ...(ratios ? [String(ratios[name])] : []),
      numbers.map((number) => rounded(number)).join("  "),
    ]),
  ]);
  const result = {
    date: new Date().toISOString(),
    commit: commit(),
    what,
    unit,
    machine: { cores: cpus().length, memoryGB: Math.round(totalmem() / 1e9), load: rounded(loadavg()[0] ?? NaN) },
    rounds: mapValues(rounds, (numbers) => numbers.map((number) => rounded(number))),
    medians: mapValues(medians, (value) => rounded(value)),
    ...(ratios && { ratios }),
    ...notes,
  };
  appendFileSync(RESULTS, `${JSON.stringify(result)}\n`);
}

/** A table of text, the first row its head, columns as wide as they have to be. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}

/** Runs a measurement to its end; what went wrong is one message and exit code 1. */
export function main(measure: () => Promise<void>): void {
  measure().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  });
}

/** The middle one; of an even number of values, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const around = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return around.reduce((sum, value) => sum + value, 0) / around.length;
}

/** To three significant digits, whole numbers as they are. */
function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** The commit that was measured, with a + when files were changed since. */
function commit(): string {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: REPOSITORY, encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", ".", ":!bench/results.jsonl") !== "";
  return git("rev-parse", "--short", "HEAD") + (changed ? "+" : "");
}
