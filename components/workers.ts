/** How many worker processes of each kind run beside Synapse's main process. */
export interface WorkerCounts {
  /** They answer clients and other servers. */
  readonly generic: number;
  /** They send to other servers. */
  readonly federationSender: number;
  /** They send push notifications. */
  readonly pusher: number;
  /** It takes and gives media; at most one. */
  readonly media: number;
  /** It does what is due by the clock; at most one. */
  readonly backgroundTasks: number;
}

/** A worker process. */
export interface Worker {
  /** Synapse's `worker_name`. */
  readonly name: string;
  readonly kind: keyof WorkerCounts;
  /** Where it listens, on this machine only. */
  readonly port: number;
  /** What it serves there, by Synapse's names of listener resources; `/health` it always answers. */
  readonly resources: readonly string[];
}

/** What homeserver.yaml has to say of the workers. */
export interface WorkerDuties {
  readonly federationSenders: readonly string[];
  readonly pushers: readonly string[];
  readonly media?: string;
  readonly backgroundTasks?: string;
}

/** The ports of a kind begin here. */
const KINDS: Readonly<Record<keyof WorkerCounts, Pick<Worker, "name" | "port" | "resources">>> = {
  generic: { name: "generic", port: 8101, resources: ["client", "federation"] },
  federationSender: { name: "federation-sender", port: 8201, resources: ["health"] },
  pusher: { name: "pusher", port: 8301, resources: ["health"] },
  media: { name: "media", port: 8401, resources: ["media"] },
  backgroundTasks: { name: "background", port: 8501, resources: ["health"] },
};

/** One more has the ports and names of the others as they were. Pure. */
export function workersOf(counts: WorkerCounts): Worker[] {
  return (Object.keys(KINDS) as (keyof WorkerCounts)[]).flatMap((kind) => {
    const { name, port, resources } = KINDS[kind];
    return Array.from({ length: counts[kind] }, (_, index) => ({
      name: `${name}${index + 1}`,
      kind,
      port: port + index,
      resources,
    }));
  });
}

/** Pure. */
export function dutiesOf(workers: readonly Worker[]): WorkerDuties {
  const named = (kind: keyof WorkerCounts) =>
    workers.filter((worker) => worker.kind === kind).map((worker) => worker.name);
  const [media] = named("media");
  const [backgroundTasks] = named("backgroundTasks");
  return {
    federationSenders: named("federationSender"),
    pushers: named("pusher"),
    ...(media !== undefined && { media }),
    ...(backgroundTasks !== undefined && { backgroundTasks }),
  };
}
