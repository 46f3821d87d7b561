import type { FreeSettings } from "../../components/homeserverSettings";

/** What scripts/adopt-read.sh finds on a machine. */
export interface Found {
  /** homeserver.yaml, all of its files together. */
  readonly homeserver: FreeSettings & { readonly server_name: string };
  readonly configFiles: readonly string[];
  /** Of Synapse. */
  readonly version: string;
  /** The prefix of its Python, and whether that is a virtual environment. */
  readonly environment: string;
  readonly isVenv: boolean;
  readonly unit: string;
  readonly dropIns: readonly string[];
  /** The account that it runs as. */
  readonly account: string;
  /** The home of the account `synapse`, where there is one. */
  readonly synapseHome: string | null;
  /** How many worker processes run. */
  readonly workers: number;
  readonly database: FoundDatabase & {
    readonly users: number;
    /** A local name for an administrator that nobody has. */
    readonly freeAdmin: string | null;
  };
  /** `id` is what other servers call the key, null when there is no such file. */
  readonly signingKey: { readonly path: string; readonly id: string | null };
  /** `movable`: whether it is on the file system of /opt. */
  readonly mediaStore: { readonly path: string; readonly movable: boolean };
  /** What `nginx -T` prints; empty where there is no nginx. */
  readonly nginx: string;
  /** The certificates and keys that nginx names, by their paths there. */
  readonly pem: Readonly<Record<string, string>>;
}

/** Its database, as homeserver.yaml and the database itself have it. */
export type FoundDatabase =
  | { readonly kind: "sqlite"; readonly path: string; readonly bytes: number }
  | {
      readonly kind: "postgresql";
      readonly host: string;
      readonly port: number;
      readonly name: string;
      readonly user: string;
      readonly password: string | null;
      readonly sslMode: string | null;
      /** Encoding, collation, ctype, owner, role. */
      readonly shape: string;
      /** Whether EL8's own PostgreSQL has its data on this machine. */
      readonly hasCluster: boolean;
    };

/** What the operator has to say in addition. */
export interface Wishes {
  /** Whom an ACME server is to write to. */
  readonly acmeEmail?: string;
  readonly now: Date;
}

/** What a part of the server gives to the stack's settings, or what is in the way of that. */
export interface Part {
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, string>;
  readonly problems: string[];
}

/** Where Synapse has to listen for clients. */
export const SYNAPSE_PORT = 8008;

/** An item of homeserver.yaml's `listeners`. */
export interface Listener {
  readonly port?: number;
  readonly type?: string;
  readonly resources?: readonly { readonly names?: readonly string[] | string }[];
}

/** Pure. */
export const listenersOf = (config: FreeSettings) => (config.listeners as Listener[] | null | undefined) ?? [];
/** The one for clients. Pure. */
export const clientListener = (config: FreeSettings) =>
  listenersOf(config).find(({ resources = [] }) => resources.some(({ names = [] }) => names.includes("client")));
