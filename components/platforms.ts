/** What one release of an EL8-family system brings for Synapse. */
export interface Platform {
  /** `VERSION_ID` in /etc/os-release. */
  readonly release: string;
  /** The Python command that makes the virtual environment. */
  readonly python: string;
  /** Its package. */
  readonly pythonPackage: string;
  /** Stream of the dnf module `postgresql`. */
  readonly postgresqlStream: string;
  /** Stream of the dnf module `nginx`. */
  readonly nginxStream: string;
  /** The newest Synapse that its Python and PostgreSQL can run. Undefined: no such limit is known. */
  readonly newestSynapse?: string;
}

/**
 * The newest supported Python, PostgreSQL and nginx of each release, from the distributions' own lists. Synapse needs
 * Python 3.10 and PostgreSQL 14 since 1.143; releases before 8.8 have neither.
 */
export const PLATFORMS: readonly Platform[] = [
  { release: "8.10", python: "python3.12", pythonPackage: "python3.12", postgresqlStream: "16", nginxStream: "1.24" },
  { release: "8.9", python: "python3.11", pythonPackage: "python3.11", postgresqlStream: "15", nginxStream: "1.22" },
  { release: "8.8", python: "python3.11", pythonPackage: "python3.11", postgresqlStream: "15", nginxStream: "1.22" },
];

/** The table as scripts/host.sh reads it: a line a release, columns separated by `|`. */
export function platformLines(platforms: readonly Platform[]): string {
  return platforms
    .map((p) =>
      [p.release, p.python, p.pythonPackage, p.postgresqlStream, p.nginxStream, p.newestSynapse ?? ""].join("|"),
    )
    .join("\n");
}
