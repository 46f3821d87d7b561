import { randomUUID } from "node:crypto";
import { Agent, fetch } from "undici";
import { z } from "zod";

/** The server that is to be loaded. */
export interface LoadTarget {
  readonly baseUrl: string;
  /** IP address to which its name is resolved. */
  readonly address: string;
  /** PEM. */
  readonly ca: string;
}

/** What a load came to. Milliseconds, but for the first. */
export interface LoadResult {
  /** Messages that were sent, a second. */
  readonly perSecond: number;
  /** From a client's request to send to the answer. */
  readonly send: Percentiles;
  /** From a client's request to send until another one's /sync had the message. */
  readonly fanOut: Percentiles;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

const session = z.object({ access_token: z.string(), user_id: z.string() });
const room = z.object({ room_id: z.string() });
const sync = z.object({
  next_batch: z.string(),
  rooms: z
    .object({
      join: z
        .record(
          z.string(),
          z.object({
            timeline: z.object({
              events: z.array(
                z.object({ content: z.looseObject({ sentAt: z.number().optional() }), sender: z.string() }),
              ),
            }),
          }),
        )
        .optional(),
    })
    .optional(),
});

/** Users in one room, each with a client that writes as fast as it is answered and one that reads with /sync. */
export class Crowd {
  private constructor(
    private readonly users: readonly User[],
    private readonly roomId: string,
  ) {}

  /** Registers the users, which the server has to let anybody do, and brings them together. */
  static async gather(target: LoadTarget, size: number): Promise<Crowd> {
    const users = await Promise.all(Array.from({ length: size }, () => User.register(target)));
    const [host, ...guests] = users;
    if (!host) throw new Error("a crowd has at least one user");
    const { room_id: roomId } = room.parse(
      await host.ask("POST", "createRoom", { preset: "public_chat", visibility: "private" }),
    );
    for (const guest of guests) await guest.ask("POST", `join/${encodeURIComponent(roomId)}`, {});
    return new Crowd(users, roomId);
  }

  /** Loads the server for so many seconds. Rejects with the first request that fails. */
  async load(seconds: number): Promise<LoadResult> {
    const [sent, received]: [number[], number[]] = [[], []];
    const since = await Promise.all(this.users.map((user) => this.sync(user)));
    const start = performance.now();
    const end = start + seconds * 1000;
    await Promise.all([
      ...this.users.map(async (user) => {
        while (performance.now() < end) {
          const sentAt = performance.now();
          await user.ask("PUT", `rooms/${encodeURIComponent(this.roomId)}/send/m.room.message/${randomUUID()}`, {
            msgtype: "m.text",
            body: "The quick brown fox jumps over the lazy dog",
            // Matrix has no numbers with fractions.
            sentAt: Math.ceil(sentAt),
          });
          sent.push(performance.now() - sentAt);
        }
      }),
      ...this.users.map(async (user, index) => {
        let from = since[index]?.next ?? "";
        while (performance.now() < end) {
          const { next, sentAt } = await this.sync(user, from);
          from = next;
          const now = performance.now();
          // Synapse answers a first /sync like that with the one before for two minutes, and then come the messages of an earlier load.
          received.push(...sentAt.filter((then) => then >= start).map((then) => now - then));
        }
      }),
    ]);
    return { perSecond: sent.length / seconds, send: percentiles(sent), fanOut: percentiles(received) };
  }

  async leave(): Promise<void> {
    for (const user of this.users) await user.close();
  }

  private async sync(user: User, from?: string): Promise<{ next: string; sentAt: number[] }> {
    const query = from === undefined ? "timeout=0" : `timeout=1000&since=${encodeURIComponent(from)}`;
    const { next_batch: next, rooms } = sync.parse(await user.ask("GET", `sync?${query}`));
    const events = rooms?.join?.[this.roomId]?.timeline.events ?? [];
    return {
      next,
      sentAt: events.flatMap(({ sender, content }) =>
        sender !== user.id && content.sentAt !== undefined && from !== undefined ? [content.sentAt] : [],
      ),
    };
  }
}

class User {
  private constructor(
    readonly id: string,
    private readonly agent: Agent,
    private readonly baseUrl: string,
    private readonly token: string,
  ) {}

  static async register(target: LoadTarget): Promise<User> {
    const { baseUrl } = target;
    // One that writes and one that reads.
    const agent = agentFor(target, 2);
    const answer = await ask(agent, `${baseUrl}/_matrix/client/v3/register`, "POST", undefined, {
      auth: { type: "m.login.dummy" },
      username: `bench-${randomUUID()}`,
      password: randomUUID(),
    });
    const { access_token: token, user_id: id } = session.parse(answer);
    return new User(id, agent, baseUrl, token);
  }

  /** The answer of the client API. */
  async ask(method: string, path: string, body?: object): Promise<unknown> {
    return await ask(this.agent, `${this.baseUrl}/_matrix/client/v3/${path}`, method, this.token, body);
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }
}

/** Connections to the server's names as a client has them, verified. */
export function agentFor({ address, ca }: LoadTarget, connections: number): Agent {
  return new Agent({
    connections,
    connect: {
      ca,
      lookup: (_name, _options, done) => {
        done(null, [{ address, family: 4 }]);
      },
    },
  });
}

/** A JSON answer. Rejects when its status is not of success. */
export async function ask(
  agent: Agent,
  url: string,
  method: string,
  token: string | undefined,
  body?: object,
): Promise<unknown> {
  const response = await fetch(url, {
    dispatcher: agent,
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text.slice(0, 200)}`);
  return JSON.parse(text);
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
