import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

import { agentFor, ask, type LoadTarget } from "./libLoad";

/** A homeserver, and one who may log in to it. */
export interface Watched extends LoadTarget {
  readonly user: string;
  readonly password: string;
}

/** What a client saw of a change. */
export interface Seen {
  /** From the change's start until it showed. */
  readonly liveSeconds: number;
  /** From the change's start until whoever makes it said that it was done. */
  readonly doneSeconds: number;
  /** Requests that were not answered, or not with success. */
  readonly failed: number;
  readonly requests: number;
  /** From the first request that failed to the last one. */
  readonly failingSeconds: number;
  /** How many failed for what reason: an HTTP status, or what became of the connection. */
  readonly reasons: Readonly<Record<string, number>>;
}

/** Asks the homeserver, as a logged-in client: the JSON answer to a GET of a path of the client API. */
export type Ask = (path: string) => Promise<unknown>;

const INTERVAL_MS = 20;
const LIMIT_S = 60;
const login = z.object({ access_token: z.string() });

/** Logs in; then asks every 20 ms while `change` goes on, and until it `shows`. Rejects when it does not within a minute of its end. */
export async function probe(
  target: Watched,
  change: () => Promise<unknown>,
  shows: (get: Ask) => Promise<boolean>,
): Promise<Seen> {
  // More than there are requests on their way, unless the server stands still for seconds.
  const agent = agentFor(target, 64);
  try {
    const { access_token: token } = login.parse(
      await ask(agent, `${target.baseUrl}/_matrix/client/v3/login`, "POST", undefined, {
        type: "m.login.password",
        identifier: { type: "m.id.user", user: target.user },
        password: target.password,
      }),
    );
    const get: Ask = (path) => ask(agent, `${target.baseUrl}/_matrix/client/${path}`, "GET", token);
    if (await shows(get)) throw new Error("the change was there before it was made");

    const started = performance.now();
    const since = () => (performance.now() - started) / 1000;
    const state: { done?: number; error?: Error; live?: number } = {};
    const failures: number[] = [];
    const reasons: Record<string, number> = {};
    const fails = (at: number, error: unknown) => {
      failures.push(at);
      const reason = reasonOf(error);
      reasons[reason] = (reasons[reason] ?? 0) + 1;
    };
    const pending: Promise<void>[] = [];
    const goesOn = () =>
      state.error === undefined &&
      (state.done === undefined || (state.live === undefined && since() - state.done < LIMIT_S));
    const makesChange = change().then(
      () => {
        state.done = since();
      },
      (error: unknown) => {
        state.error = error instanceof Error ? error : new Error("the change failed", { cause: error });
      },
    );
    const looks = (async () => {
      while (state.live === undefined && goesOn()) {
        await sleep(INTERVAL_MS);
        // While Synapse is restarted nothing shows.
        if (await shows(get).catch(() => false)) state.live = since();
      }
    })();
    while (goesOn()) {
      const at = since();
      pending.push(
        get("v3/account/whoami").then(
          () => undefined,
          (error: unknown) => {
            fails(at, error);
          },
        ),
      );
      await sleep(INTERVAL_MS);
    }
    await Promise.all([makesChange, looks, ...pending]);
    if (state.error !== undefined) throw state.error;
    if (state.live === undefined || state.done === undefined) throw new Error("the change is made, and does not show");
    return {
      liveSeconds: state.live,
      doneSeconds: state.done,
      failed: failures.length,
      requests: pending.length,
      failingSeconds: failures.length > 0 ? Math.max(...failures) - Math.min(...failures) : 0,
      reasons,
    };
  } finally {
    await agent.destroy();
  }
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : (/: (\d{3}) /.exec(message)?.[1] ?? message);
}
