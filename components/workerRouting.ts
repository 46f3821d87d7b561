import type { Worker } from "./workers";
import routes from "./worker-routes.json";

/** How nginx spreads requests over processes. */
export interface Routing {
  /** In the order in which they are looked at; the first that matches a path is taken, and else the main process. */
  readonly routes: readonly { readonly path: string; readonly upstream: string }[];
  readonly upstreams: readonly Upstream[];
}

interface Upstream {
  readonly name: string;
  readonly ports: readonly number[];
  /** What decides which of them is asked, as nginx's variable. Null: each in turn. */
  readonly hash: string | null;
  /** Whether the main process is asked when none of them can be connected to: nginx has no such thing beside a hash. */
  readonly elseMain: boolean;
}

/** worker-routes.json's groups; what answers media alone can is not among the others'. */
const GENERIC = {
  byUser: "$matrix_homeserver_user",
  byServer: "$remote_addr",
  byRoom: "$matrix_homeserver_room",
  any: null,
} as const;

/**
 * What worker-routes.json says for these workers, or null where none of them answers requests. The paths are those that
 * docs/workers.md in the source archive of Synapse 1.163.2 names. Not among them are the admin API, single sign-on, which
 * has to stay with one process, and what belongs to a stream that the main process writes. Pure.
 */
export function routing(workers: readonly Worker[]): Routing | null {
  const portsOf = (kind: Worker["kind"]) => workers.filter((worker) => worker.kind === kind).map(({ port }) => port);
  const [generic, media] = [portsOf("generic"), portsOf("media")];
  const groups = [
    ...(media.length > 0 ? [{ group: "media", ports: media, hash: null, elseMain: false } as const] : []),
    ...(generic.length > 0
      ? (Object.keys(GENERIC) as (keyof typeof GENERIC)[]).map((group) => ({
          group,
          ports: generic,
          hash: GENERIC[group],
          elseMain: GENERIC[group] === null,
        }))
      : []),
  ];
  if (groups.length === 0) return null;
  return {
    upstreams: groups.map(({ group, ...rest }) => ({ name: upstreamName(group), ...rest })),
    routes: groups.flatMap(({ group }) => routes[group].map((path) => ({ path, upstream: upstreamName(group) }))),
  };
}

function upstreamName(group: string): string {
  return `matrix_homeserver_${group.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}
