/** A Python that a system has beside its own. */
export interface Python {
  /** The command that makes virtual environments. */
  readonly command: string;
  /** The package that has it. */
  readonly package: string;
}

/**
 * Systems that have the same packages under the same release number. `el`: AlmaLinux, Rocky Linux, RHEL, Oracle Linux and what
 * else says to be like them.
 */
export type Family = "el" | "centos-linux" | "centos-stream";

/** What a release of a system brings for Synapse. A list is in order of preference: the first that the machine's repositories have is taken. */
export interface Platform {
  readonly family: Family;
  /** The first release that this is about; it holds for the later ones of the same major release, up to the next row. */
  readonly from: string;
  readonly pythons: readonly Python[];
  /** Streams of the dnf module `postgresql`. */
  readonly postgresqlStreams: readonly string[];
  /** Streams of the dnf module `nginx`. */
  readonly nginxStreams: readonly string[];
  /** The newest Synapse that its Python and PostgreSQL can run. Default: no such limit is known. */
  readonly newestSynapse?: string;
  /** Its mirrors have given it up: only CentOS's vault still has its packages. Default: false. */
  readonly vaultOnly?: boolean;
}

const PYTHON_39: Python = { command: "python3.9", package: "python39" };
const PYTHON_311: Python = { command: "python3.11", package: "python3.11" };
const PYTHON_312: Python = { command: "python3.12", package: "python3.12" };

// 1.141 is the last Synapse that runs on Python 3.9; from 1.143 on it needs PostgreSQL 14, too.
const EL_8_4 = {
  pythons: [PYTHON_39],
  postgresqlStreams: ["13"],
  nginxStreams: ["1.18"],
  newestSynapse: "1.141.0",
};
const EL_8_5 = { ...EL_8_4, nginxStreams: ["1.20", "1.18"] };
const EL_8_8 = { pythons: [PYTHON_311], postgresqlStreams: ["15"], nginxStreams: ["1.22"] };
const EL_8_10 = {
  pythons: [PYTHON_312, PYTHON_311],
  postgresqlStreams: ["16", "15"],
  nginxStreams: ["1.24", "1.22"],
};

/**
 * What each release has, from the distributions' own lists. EL9 differs in nothing but the numbers. PostgreSQL's newest stream
 * comes first, since a stream that holds data is never left again by itself.
 */
export const PLATFORMS: readonly Platform[] = [
  { family: "el", from: "8.4", ...EL_8_4 },
  { family: "el", from: "8.5", ...EL_8_5 },
  { family: "el", from: "8.8", ...EL_8_8 },
  { family: "el", from: "8.10", ...EL_8_10 },
  { family: "el", from: "9.2", ...EL_8_8 },
  { family: "el", from: "9.4", ...EL_8_10 },
  { family: "centos-linux", from: "8.4", ...EL_8_4, vaultOnly: true },
  { family: "centos-linux", from: "8.5", ...EL_8_5, vaultOnly: true },
  // Frozen a week after 8.10 came out; that it has all of it is not certain.
  { family: "centos-stream", from: "8", ...EL_8_10, vaultOnly: true },
  { family: "centos-stream", from: "9", ...EL_8_10 },
];

/** The oldest PostgreSQL that Synapse works with, by the release that raised it. */
export interface PostgresqlNeed {
  readonly since: string;
  readonly postgresql: number;
  /** A release before that, which requirements/ has a lock for. Default: there is none. */
  readonly before?: string;
}

/** Newest first. */
export const POSTGRESQL_NEEDS: readonly PostgresqlNeed[] = [
  { since: "1.143.0", postgresql: 14, before: "1.141.0" },
  { since: "1.122.0", postgresql: 13 },
  { since: "1.72.0", postgresql: 11 },
  { since: "1.50.0", postgresql: 10 },
];

/** The table as scripts/host.sh reads it: a line a row, columns separated by `|`, lists by blanks, a Python as command=package. */
export function platformLines(platforms: readonly Platform[]): string {
  return platforms
    .map((p) =>
      [
        p.family,
        p.from,
        p.pythons.map((python) => `${python.command}=${python.package}`).join(" "),
        p.postgresqlStreams.join(" "),
        p.nginxStreams.join(" "),
        p.newestSynapse ?? "",
        String(p.vaultOnly ?? false),
      ].join("|"),
    )
    .join("\n");
}

/** {@link POSTGRESQL_NEEDS} likewise. */
export function postgresqlNeedLines(needs: readonly PostgresqlNeed[]): string {
  return needs.map((need) => [need.since, need.postgresql, need.before ?? ""].join("|")).join("\n");
}

/** What a person is told who has another system. */
export const SUPPORTED_SYSTEMS =
  "AlmaLinux, Rocky Linux, RHEL or Oracle Linux (8.4 or newer, 9.2 or newer), CentOS Linux (8.4, 8.5) or CentOS Stream (8, 9)";
