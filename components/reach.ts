import { createConnection } from "node:net";

import * as pulumi from "@pulumi/pulumi";

/** Where a machine takes logins. */
export interface SshAddress {
  /** Host name or IP address. */
  readonly address: string;
  readonly port: number;
}

/** How often a running update looks, and how long it waits for an answer. */
const EVERY_MS = 20_000;
const ANSWER_MS = 5000;

/**
 * Warns, once, when the machine does not answer while an update runs: what fails then is a dial, whose error names neither a
 * setting nor what to look at. An update whose end, `over`, comes sooner asks nobody, and so does a preview.
 */
export function warnOfSilence(host: SshAddress, over: pulumi.Output<unknown>): void {
  if (pulumi.runtime.isDryRun()) return;
  const timer = setInterval(() => {
    void reachProblem(host).then(async (problem) => {
      if (problem === undefined) return;
      clearInterval(timer);
      await pulumi.log.warn(problem);
    });
  }, EVERY_MS);
  // The update does not wait for it.
  timer.unref();
  over.apply(() => {
    clearInterval(timer);
  });
}

/**
 * Why nobody can log in to a machine over SSH.
 *
 * @returns a whole sentence; undefined when an SSH server answers there. Never rejects
 */
export async function reachProblem({ address, port }: SshAddress, answerMs = ANSWER_MS): Promise<string | undefined> {
  const where = `${address}, port ${port} (host.address, host.port)`;
  const answer = await firstWords(address, port, answerMs);
  switch (answer) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `DNS knows no machine of the name ${address} (host.address): see that it is written right, or set host.address to an IP address`;
    case "ECONNREFUSED":
      return `the machine refuses connections to ${where}: see that it is the right one, and that sshd runs there and listens on that port`;
    case "ETIMEDOUT":
      return `nothing answers at ${where}: see that the machine is on, that this is its address, and that no firewall, its own or its provider's, drops SSH from here`;
    default:
      if (/^E[A-Z]+$/.test(answer))
        return `no connection can be made to ${where} (${answer}): see that the machine is on, and that this is its address`;
      return answer.startsWith("SSH-")
        ? undefined
        : `what answers at ${where} is no SSH server: see which port sshd has`;
  }
}

/** What a server says first, or the code of the error that it comes to instead. */
async function firstWords(host: string, port: number, answerMs: number): Promise<string> {
  return await new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const settle = (answer: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(settle, answerMs, "ETIMEDOUT");
    socket.once("data", (words: Buffer) => {
      settle(words.toString("latin1"));
    });
    socket.once("end", () => {
      settle("ECONNRESET");
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      settle(error.code ?? "EIO");
    });
  });
}
