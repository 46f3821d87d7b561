import { quote } from "./shell";

/** How to reach a PostgreSQL database. The password is in a file of its own. */
export interface DatabaseAddress {
  /** A name, an IP address, or the folder of the server's socket on the same machine. */
  readonly host: string;
  /** Of TCP; and part of the socket's name. */
  readonly port: number;
  readonly name: string;
  readonly user: string;
  /** libpq's `sslmode`. Undefined: the connection stays on the machine. */
  readonly sslMode?: "require" | "verify-ca" | "verify-full";
  /** Path on the Synapse machine of the authority that the server's certificate is checked against. Undefined: the system's own. */
  readonly sslRootCert?: string;
}

/** The address as libpq's connection parameters, in the order in which they are shown; for Synapse's `database.args`, too. */
export function libpqParameters(address: DatabaseAddress, passfile: string): [string, string | number][] {
  const { host, port, name, user, sslMode, sslRootCert } = address;
  return [
    ["user", user],
    ["passfile", passfile],
    ["dbname", name],
    ["host", host],
    ["port", port],
    ...(sslMode === undefined ? [] : [["sslmode", sslMode] as [string, string]]),
    ...(sslRootCert === undefined ? [] : [["sslrootcert", sslRootCert] as [string, string]]),
  ];
}

/** The same as one connection string, quoted as libpq wants it. */
export function libpqString(address: DatabaseAddress, passfile: string): string {
  return libpqParameters(address, passfile)
    .map(([name, value]) => `${name}='${String(value).replace(/[\\']/g, "\\$&")}'`)
    .join(" ");
}

/** Shell command that succeeds when the database takes the login that Synapse would make. */
export function loginCheck(address: DatabaseAddress, passfile: string): string {
  return `psql -qAtXwc 'SELECT 1' ${quote(`connect_timeout=10 ${libpqString(address, passfile)}`)}`;
}
