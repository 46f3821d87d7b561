import { passwordProblem } from "../passwords";
import type { FoundDatabase, Part } from "./found";

/** What the stack has to know of a database that it goes on with; of one of SQLite nothing, as it is copied. Pure. */
export function planDatabase(database: FoundDatabase): Part {
  if (database.kind === "sqlite") return { settings: {}, secrets: {}, problems: [] };
  const { host, port, name, user, password } = database;
  const problems: string[] = [];
  const isLocal = host === "" || host.startsWith("/") || ["localhost", "127.0.0.1", "::1"].includes(host);
  const settings = isLocal
    ? {}
    : {
        database: {
          host,
          ...(port !== 5432 && { port }),
          ...(name !== "synapse" && { name }),
          ...(user !== "synapse" && { user }),
          tlsMode: ["verify-ca", "verify-full"].includes(database.sslMode ?? "") ? database.sslMode : "require",
        },
      };
  if (isLocal && (name !== "synapse" || user !== "synapse"))
    problems.push(
      `its database is ${name} of the role ${user}, and this program's is synapse of the role synapse: with the server stopped, rename both (ALTER DATABASE … RENAME TO synapse, ALTER ROLE … RENAME TO synapse, and its password anew) and name them in homeserver.yaml`,
    );
  else if (isLocal && database.shape !== "UTF8 C C synapse synapse")
    problems.push(
      `its database has encoding, collation, ctype and owner '${database.shape.replace(/ \S+$/, "")}', and this program needs 'UTF8 C C synapse': ALTER DATABASE synapse OWNER TO synapse, or dump it, make it anew and restore it`,
    );
  if (isLocal && (!database.hasCluster || port !== 5432))
    problems.push(
      `its PostgreSQL is not the system's own (data in /var/lib/pgsql/data, port 5432), which this program keeps: move the database there first`,
    );
  if (password === null) {
    problems.push(
      isLocal
        ? `homeserver.yaml has no password of the database's role ${user}, which PostgreSQL will ask for: set one (ALTER ROLE ${user} PASSWORD …), put it there, and restart the server`
        : `homeserver.yaml has no password of the database's role ${user}: put it there, for it goes on being used`,
    );
    return { settings, secrets: {}, problems };
  }
  const weak = passwordProblem(password, 8);
  if (weak !== undefined)
    problems.push(
      `the password of the database's role ${user} ${weak}: change it (ALTER ROLE) and put the new one into homeserver.yaml`,
    );
  return { settings, secrets: { dbPassword: password }, problems };
}
