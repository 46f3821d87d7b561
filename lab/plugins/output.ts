import type { Operation } from "./serve";

/** Takes what a running command writes. */
export interface RunningCommand {
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
}

/** Which of a command's outputs a person sees while it runs. */
export type Logging = "stdout" | "stderr" | "stdoutAndStderr" | "none";

/** Keeps what a command writes, together and apart, and shows it line by line. */
export class Output implements RunningCommand {
  private readonly chunks: { from: "stdout" | "stderr"; chunk: Buffer }[] = [];
  private unfinished = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };

  constructor(
    private readonly logging: Logging | undefined,
    private readonly log: Operation["log"],
  ) {}

  stdout(chunk: Buffer): void {
    this.add("stdout", chunk);
  }

  stderr(chunk: Buffer): void {
    this.add("stderr", chunk);
  }

  /** Shows a last line that has no line end. */
  finish(): void {
    for (const from of ["stdout", "stderr"] as const)
      if (this.unfinished[from].length > 0) this.show(from, Buffer.from("\n"));
  }

  /** Both outputs in the order in which they came. */
  get everything(): string {
    return Buffer.concat(this.chunks.map(({ chunk }) => chunk)).toString();
  }

  /** What becomes of the outputs in the resource's state: without their last line end. */
  get state(): { stdout: string; stderr: string } {
    const of = (wanted: "stdout" | "stderr") =>
      Buffer.concat(this.chunks.filter(({ from }) => from === wanted).map(({ chunk }) => chunk))
        .toString()
        .replace(/\n$/, "");
    return { stdout: of("stdout"), stderr: of("stderr") };
  }

  private add(from: "stdout" | "stderr", chunk: Buffer): void {
    this.chunks.push({ from, chunk });
    this.show(from, chunk);
  }

  private show(from: "stdout" | "stderr", chunk: Buffer): void {
    if (this.logging !== undefined && this.logging !== from && this.logging !== "stdoutAndStderr") return;
    const text = Buffer.concat([this.unfinished[from], chunk]);
    const end = text.lastIndexOf("\n");
    this.unfinished[from] = text.subarray(end + 1);
    if (end < 0) return;
    for (const line of text.subarray(0, end).toString().split("\n")) this.log("info", line.replace(/\r$/, ""), true);
  }
}
