/*
 * Which requests nginx gives to which worker, held against what docs/workers.md in the source archive of the newest locked
 * Synapse says that a worker may answer.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { lockedVersions } from "../../components/SynapseVenv";
import routes from "../../components/worker-routes.json";
import { routing } from "../../components/workerRouting";
import { workersOf } from "../../components/workers";

const NONE = { generic: 0, federationSender: 0, pusher: 0, media: 0, backgroundTasks: 0 };

// The archive is fetched when it is not in the cache.
jest.setTimeout(120_000);

describe("worker-routes.json", () => {
  const documentation = readDocumentation();
  const generic = between("### `synapse.app.generic_worker`", "#### Load balancing");
  const ofMainsStreams = new Set(pathsIn(between("#### Stream writers", "#### Restrict outbound federation")));
  const [always = ""] = generic.split("Additionally, the following REST endpoints can be handled for GET requests");
  const groups = groupsIn(always);

  it("has the paths that are for the same worker each time", () => {
    expect(routes.byUser).toEqual(groups.get("Sync requests"));
    expect(routes.byServer).toEqual(groups.get("Inbound federation transaction request"));
    expect(routes.byRoom).toEqual(
      pathsIn(generic.slice(generic.indexOf("Pagination requests"), generic.indexOf("to use SSO"))),
    );
  });

  it("has all other paths for any worker, but the admin API and what belongs to a stream that the main process writes", () => {
    const others = [...groups]
      .filter(([title]) => !["Sync requests", "Inbound federation transaction request"].includes(title))
      .flatMap(([, paths]) => paths)
      .filter((path) => !path.startsWith("^/_synapse/") && !ofMainsStreams.has(path));
    expect(routes.any).toEqual(others);
    expect(others.length).toBeGreaterThan(50);
  });

  it("has the paths of media", () => {
    expect(routes.media).toEqual(
      pathsIn(between("### `synapse.app.media_repository`", "### `synapse.app.user_dir`")).map((path) =>
        path.replace(/^\^?/, "^"),
      ),
    );
  });

  it("has nothing twice, and no path with what nginx would read otherwise", () => {
    const all = Object.values(routes).flat();
    expect(new Set(all).size).toBe(all.length);
    for (const path of all) expect(path).toMatch(/^\^\/[\w/.*+|()[\]^?$-]+$/);
  });

  function between(from: string, to: string): string {
    const start = documentation.indexOf(from);
    const end = documentation.indexOf(to, start);
    if (start < 0 || end < 0) throw new Error(`docs/workers.md has no part from "${from}" to "${to}"`);
    return documentation.slice(start, end);
  }
});

describe("routing", () => {
  const upstreamOf = (path: string, counts: Partial<typeof NONE>) =>
    routing(workersOf({ ...NONE, ...counts }))?.routes.find((route) => new RegExp(route.path).test(path))?.upstream;

  it("is none where no worker answers requests", () => {
    expect(routing([])).toBeNull();
    expect(routing(workersOf({ ...NONE, federationSender: 2, pusher: 1, backgroundTasks: 1 }))).toBeNull();
  });

  it.each([
    ["/_matrix/client/v3/sync", "matrix_homeserver_by_user"],
    ["/_matrix/client/v3/rooms/!r:example.com/send/m.room.message/1", "matrix_homeserver_any"],
    ["/_matrix/client/v3/rooms/!r:example.com/messages", "matrix_homeserver_by_room"],
    ["/_matrix/client/v3/login", "matrix_homeserver_any"],
    ["/_matrix/federation/v1/send/1", "matrix_homeserver_by_server"],
    ["/_matrix/media/v3/upload", "matrix_homeserver_media"],
    ["/_matrix/client/v1/media/download/a/b", "matrix_homeserver_media"],
    ["/_synapse/admin/v1/media/quarantine/a/b", "matrix_homeserver_media"],
    ["/_synapse/admin/v1/rooms/!r:example.com", undefined],
    ["/_synapse/admin/v2/users/@a:example.com", undefined],
    ["/_matrix/client/v3/rooms/!r:example.com/typing/@a:example.com", undefined],
    ["/_matrix/client/v3/sendToDevice/m.x/1", undefined],
    ["/_matrix/client/v3/keys/upload", undefined],
    ["/_matrix/client/v3/login/sso/redirect", undefined],
    ["/_synapse/client/oidc/callback", undefined],
  ])("%s goes to %s, undefined being the main process", (path, upstream) => {
    expect(upstreamOf(path, { generic: 1, media: 1 })).toBe(upstream);
  });

  it("leaves to the main process what no worker is there for", () => {
    expect(upstreamOf("/_matrix/media/v3/upload", { generic: 1 })).toBeUndefined();
    expect(upstreamOf("/_matrix/client/v3/sync", { media: 1 })).toBeUndefined();
  });

  it("asks all of a kind, and the main process where nginx can", () => {
    const { upstreams = [] } = routing(workersOf({ ...NONE, generic: 2, media: 1 })) ?? {};
    expect(upstreams.map(({ name, ports, elseMain }) => [name, ports, elseMain])).toEqual([
      ["matrix_homeserver_media", [8401], false],
      ["matrix_homeserver_by_user", [8101, 8102], false],
      ["matrix_homeserver_by_server", [8101, 8102], false],
      ["matrix_homeserver_by_room", [8101, 8102], false],
      ["matrix_homeserver_any", [8101, 8102], true],
    ]);
  });
});

describe("workers", () => {
  it("keep their names and ports when there is one more of a kind", () => {
    const few = workersOf({ generic: 2, federationSender: 1, pusher: 1, media: 1, backgroundTasks: 1 });
    const more = workersOf({ generic: 3, federationSender: 2, pusher: 2, media: 1, backgroundTasks: 1 });
    expect(more).toEqual(expect.arrayContaining(few));
    expect(more).toHaveLength(few.length + 3);
    expect(new Set(more.map(({ port }) => port)).size).toBe(more.length);
    expect(new Set(more.map(({ name }) => name)).size).toBe(more.length);
  });
});

/** Of the release that is deployed when none is named. */
function readDocumentation(): string {
  const version = lockedVersions().at(-1) ?? "";
  const { status, stdout, stderr } = spawnSync(resolve(__dirname, "../../lab/index/source.sh"), [version], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  return readFileSync(join(stdout.trim(), "docs/workers.md"), "utf8");
}

/** The paths of a text, as regular expressions: the lines of its blocks of code that begin with one. */
function pathsIn(text: string): string[] {
  return [...text.matchAll(/^ {4}(\^?\/\S+)$/gm)].map(([, path = ""]) => path);
}

/** The same by the comments in the blocks. */
function groupsIn(text: string): Map<string, string[]> {
  return new Map(
    text
      .split(/^ {4}# /m)
      .slice(1)
      .map((group) => [group.split("\n", 1)[0] ?? "", pathsIn(group)]),
  );
}
