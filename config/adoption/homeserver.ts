import { isDeepStrictEqual } from "node:util";

import {
  type FreeSettings,
  checkHomeserverSettings,
  isHomeserverSetting,
  secretPaths,
} from "../../components/homeserverSettings";
import { clientListener, listenersOf, type Part } from "./found";

/** What the program's homeserver.yaml says anyway. */
const SAME: FreeSettings = {
  report_stats: false,
  max_upload_size: "50M",
  trusted_key_servers: [{ server_name: "matrix.org" }],
  suppress_key_server_warning: true,
};
const WITH_MODULES = [
  "modules",
  "password_providers",
  "media_storage_providers",
  "spam_checker",
  "third_party_event_rules",
];

/** What the stack keeps of homeserver.yaml. Pure. */
export function planHomeserver(config: FreeSettings): Part & { readonly changes: string[]; readonly left: string[] } {
  const left: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(JSON.parse(JSON.stringify(config)) as FreeSettings)) {
    if (isDeepStrictEqual(value, SAME[name]) || value === null) continue;
    if (isHomeserverSetting(name)) settings[name] = value;
    // What the program has no place for is no setting of Synapse, or one that it sets itself.
    else if (checkHomeserverSettings({ [name]: value }).some(({ message }) => message.startsWith("is no setting")))
      left.push(`homeserver.yaml's ${name}, which is no setting of Synapse`);
  }
  for (const { path, message } of checkHomeserverSettings(settings)) {
    removeAt(settings, path);
    left.push(`homeserver.yaml's ${path.join(".")}: it ${message}`);
  }
  const modules = WITH_MODULES.flatMap((name) => modulesIn(settings[name])).filter(
    (name) => !name.startsWith("synapse."),
  );
  const others = listenersOf(config).filter((listener) => listener !== clientListener(config));
  for (const { port, type = "http" } of others)
    left.push(`the listener of the type ${type} on port ${port ?? "of no number"}`);

  const secrets: Record<string, string> = {};
  for (const path of secretPaths(settings)) {
    secrets[`homeserver${path.map((key) => (/^\d+$/.test(key) ? `[${key}]` : `.${key}`)).join("")}`] = String(
      removeAt(settings, path),
    );
  }
  const files = filesIn(settings);
  return {
    settings,
    secrets,
    problems:
      modules.length > 0
        ? [
            `it loads modules that this program does not install (${modules.join(", ")}): take them out of homeserver.yaml, or keep this server as it is`,
          ]
        : [],
    changes: files.length > 0 ? [`the account synapse reads ${files.join(", ")}: see that it may`] : [],
    left,
  };
}

function modulesIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    key === "module" && typeof inner === "string" ? [inner] : modulesIn(inner),
  );
}

function filesIn(value: unknown): string[] {
  if (typeof value === "string") return /^\/[\w.-]+\//.test(value) ? [value] : [];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(filesIn) : [];
}

/** Takes the value at a path out of an object; an item of a list stays, empty, so that the others keep their places. */
function removeAt(tree: Record<string, unknown>, path: readonly string[]): unknown {
  const [key = "", ...rest] = path;
  const value = tree[key];
  if (rest.length > 0) return removeAt(value as Record<string, unknown>, rest);
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the object is a copy, and the key is in it
  delete tree[key];
  return value;
}
