import { parse } from "yaml";
import { z } from "zod";

import { ask, isOpen } from "./ask";
import type { Deployment, Outputs } from "./deployment";

const homeserverYaml = z.looseObject({
  server_name: z.string(),
  report_stats: z.boolean(),
  database: z.object({ name: z.string(), args: z.record(z.string(), z.unknown()) }),
});

const SOCKET_FOLDER = "/var/run/postgresql";

/** What a deployment has to have done, looked up on the host itself. One test for each step of the job, or several. */
export function testFourteenSteps(deployed: () => Deployment): void {
  let outputs: Outputs;
  beforeAll(async () => {
    outputs = await deployed().outputs();
  });
  const run = (script: string) => deployed().host.run(script);
  const sql = (query: string) => deployed().host.sql(query);
  const matrix = () => `matrix.${deployed().serverName}`;
  const synapse = () => `synapse.${deployed().serverName}`;
  const apex = () => deployed().serverName;
  const get = async (url: string, headers?: Record<string, string>) => {
    const { hostAddress, caCertificate } = outputs;
    return await ask(url, hostAddress, caCertificate, headers);
  };
  /** curl on the host, which speaks HTTP/2 and IPv6. */
  const curl = async (name: string, address: string, options: string) => {
    return await run(`
      printf '%s' '${outputs.caCertificate}' >/root/e2e-ca.crt
      curl -sS --max-time 10 --cacert /root/e2e-ca.crt --resolve '${name}:443:${address}' ${options}`);
  };

  it("1: the packages that the installation needs are there, and no compiler, which it does not need", async () => {
    await run("rpm -q python3.11 postgresql-server postgresql nginx firewalld");
    const streams = await run(
      "cd /etc/dnf/modules.d && grep -l -i '^state *= *enabled' nginx.module postgresql.module",
    );
    expect(streams).toBe("nginx.module\npostgresql.module");
    await expect(run("rpm -q gcc")).rejects.toThrow("is not installed");
  });

  it("2: the firewall lets http and https through, now and after a boot", async () => {
    for (const zone of ["", "--permanent"]) {
      const services = await run(`firewall-cmd ${zone} --list-services`);
      expect(services.split(" ")).toEqual(expect.arrayContaining(["http", "https", "ssh"]));
    }
    expect(await run("systemctl is-enabled firewalld; systemctl is-active firewalld")).toBe("enabled\nactive");
  });

  it("2: the world reaches nginx, but neither Synapse nor PostgreSQL", async () => {
    const { address } = deployed().host.facts;
    const open = await Promise.all([80, 443, 8008, 5432].map((port) => isOpen(address, port)));
    expect(open).toEqual([true, true, false, false]);
    const listening = await run("ss -Hltn '( sport = 8008 or sport = 5432 )' | awk '{ print $4 }' | sort -u");
    expect(listening.split("\n").filter((socket) => !/^(127\.0\.0\.1|\[::1\]):/.test(socket))).toEqual([]);
    expect(listening).toContain("127.0.0.1:8008");
  });

  it("3: Synapse is installed in a virtual environment, with all that it depends on", async () => {
    const version = await run("/opt/synapse/env/bin/python -c 'import synapse; print(synapse.__version__)'");
    expect(await run("readlink /opt/synapse/env")).toMatch(`/opt/synapse/releases/${version}-`);
    await run(`/opt/synapse/env/bin/python - <<'END'
from importlib.metadata import distributions, version
from packaging.requirements import Requirement

for distribution in distributions():
    for needed in map(Requirement, distribution.requires or []):
        if not needed.marker or needed.marker.evaluate({"extra": ""}):
            assert needed.specifier.contains(version(needed.name), prereleases=True), (distribution.name, str(needed))
END`);
  });

  it("4: homeserver.yaml is for the server name, and reports no statistics", async () => {
    const settings = homeserverYaml.parse(parse(await run("cat /opt/synapse/homeserver.yaml")));
    expect(settings).toMatchObject({ server_name: apex(), report_stats: false });
    expect(await sql("SELECT name FROM users")).toBe(`@admin:${apex()}`);
  });

  it("5: the database is UTF8 in the C locale and belongs to the role", async () => {
    const shape = `SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba)
                     FROM pg_database WHERE datname = 'synapse'`;
    expect(await sql(shape)).toBe("UTF8|C|C|synapse");
  });

  it("5: the role may nothing but log in, with a password that is kept as a SCRAM hash", async () => {
    const role = "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'synapse'";
    expect(await sql(role)).toBe("t|f|f|f");
    expect(await sql("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'synapse'")).toBe("SCRAM-SHA-256$");
  });

  it("5: PostgreSQL asks for that password, on its socket and both loopback addresses, and takes no other", async () => {
    const rules = `SELECT type, address, auth_method FROM pg_hba_file_rules
                    WHERE database = '{synapse}' AND user_name = '{synapse}' ORDER BY line_number`;
    expect(await sql(rules)).toBe("local||scram-sha-256\nhost|127.0.0.1|scram-sha-256\nhost|::1|scram-sha-256");
    const login = "psql -qAtXw -U synapse -d synapse -c 'SELECT current_user'";
    const addresses = [SOCKET_FOLDER, "127.0.0.1", "::1"];
    for (const address of addresses) {
      expect(
        await run(
          `cp /opt/synapse/secrets/pgpass /run/e2e-pgpass && PGPASSFILE=/run/e2e-pgpass ${login} -h ${address}; rm -f /run/e2e-pgpass`,
        ),
      ).toBe("synapse");
      await expect(run(`PGPASSWORD=wrong ${login} -h ${address}`)).rejects.toThrow("password authentication failed");
    }
  });

  it("6: the PostgreSQL driver is in the virtual environment", async () => {
    expect(await run("/opt/synapse/env/bin/python -c 'import psycopg2; print(psycopg2.__version__)'")).toMatch(/^2\.9/);
  });

  it("7: the database section names the driver and where the database is, and the password only by its file", async () => {
    const { database } = homeserverYaml.parse(parse(await run("cat /opt/synapse/homeserver.yaml")));
    expect(database).toEqual({
      name: "psycopg2",
      args: {
        user: "synapse",
        passfile: "/opt/synapse/secrets/pgpass",
        dbname: "synapse",
        host: SOCKET_FOLDER,
        port: 5432,
        cp_min: 5,
        cp_max: 10,
      },
    });
    expect(await run("stat -c '%a %U' /opt/synapse/secrets/pgpass")).toBe("600 synapse");
    const sessions =
      "SELECT count(*) >= 5, bool_and(client_addr IS NULL) FROM pg_stat_activity WHERE usename = 'synapse'";
    expect(await sql(sessions)).toBe("t|t");
  });

  it("8: Synapse finds its configuration good, and tells systemd when it is up", async () => {
    const check = "cd /opt/synapse && runuser -u synapse -- env/bin/python -m synapse.config -c homeserver.yaml";
    expect(await run(check)).toContain("Config parses OK!");
    expect(await run("systemctl show synapse --property Type --value")).toBe("notify");
    expect(await run("curl -sS --max-time 5 http://127.0.0.1:8008/health")).toBe("OK");
  });

  it("9: nginx serves both names over HTTP/2, on IPv4 and on IPv6", async () => {
    for (const name of [matrix(), synapse()]) {
      for (const [address, family] of [
        ["127.0.0.1", "-4"],
        ["[::1]", "-6"],
      ] as const) {
        const url = `https://${name}/_matrix/client/versions`;
        const answer = await curl(
          name,
          address,
          `${family} --http2 -o /dev/null -w '%{http_code} %{http_version}' ${url}`,
        );
        expect(`${name} ${address} ${answer}`).toBe(`${name} ${address} 200 2`);
      }
    }
  });

  it("9: http leads to https, on IPv6 as well", async () => {
    for (const name of [matrix(), synapse(), apex()]) {
      const { status, headers } = await get(`http://${name}/a?b=c`);
      expect({ status, location: headers.location }).toEqual({ status: 301, location: `https://${name}/a?b=c` });
    }
    const redirect = `curl -sS -6 --resolve '${apex()}:80:[::1]' -o /dev/null -w '%{redirect_url}' http://${apex()}/x`;
    expect(await run(redirect)).toBe(`https://${apex()}/x`);
  });

  it("9: old versions of TLS are refused", async () => {
    const hello = (version: string) =>
      `openssl s_client -connect 127.0.0.1:443 -servername ${matrix()} -cipher 'DEFAULT@SECLEVEL=0' ${version}`;
    await expect(run(hello("-tls1_1"))).rejects.toThrow();
    await run(hello("-tls1_2"));
    await run(hello("-tls1_3"));
  });

  it("9: Synapse gets the path as the client wrote it, the client's own address, and its Host", async () => {
    const alias = `%23a%2Fb%3A${apex()}`;
    const { status, body } = await get(`https://${matrix()}/_matrix/client/v3/directory/room/${alias}`);
    expect({ status, body: JSON.parse(body) as unknown }).toMatchObject({
      status: 404,
      body: { errcode: "M_NOT_FOUND" },
    });
    const machine = deployed().host.facts.address.replace(/\d+$/, "1");
    // Synapse notes the addresses of its users every few seconds.
    const seen = "SELECT DISTINCT ip FROM user_ips";
    let addresses = await sql(seen);
    for (let tries = 0; addresses === "" && tries < 20; tries++) {
      await new Promise((done) => setTimeout(done, 500));
      addresses = await sql(seen);
    }
    expect(addresses).toBe(machine);
  });

  it("9: nobody's requests are logged", async () => {
    const configuration = await run("nginx -T 2>/dev/null");
    const own = configuration.slice(
      configuration.indexOf("# configuration file /etc/nginx/conf.d/matrix-homeserver.conf:"),
    );
    const servers = own.slice(0, own.indexOf("# configuration file", 1)).match(/^server \{[^]*?^\}/gm) ?? [];
    expect(servers).toHaveLength(3);
    for (const server of servers) expect(server).toContain("access_log off;");
    expect(await run("cat /var/log/nginx/*access* 2>/dev/null || true")).not.toContain("_matrix");
  });

  it("9: nginx is enabled, and the server's private key is root's alone", async () => {
    expect(await run("systemctl is-enabled nginx; systemctl is-active nginx")).toBe("enabled\nactive");
    const keys = "nginx -T 2>/dev/null | awk '$1 == \"ssl_certificate_key\" { print $2 }' | tr -d ';' | sort -u";
    expect(await run(`stat -c '%a %U' $(${keys})`)).toBe("600 root");
  });

  it("10: the server name tells clients and other servers where its homeserver is", async () => {
    const documents = {
      client: { "m.homeserver": { base_url: `https://${matrix()}` } },
      server: { "m.server": `${matrix()}:443` },
    };
    for (const [name, document] of Object.entries(documents)) {
      const { status, headers, body } = await get(`https://${apex()}/.well-known/matrix/${name}`);
      expect(status).toBe(200);
      expect(headers["content-type"]).toBe("application/json");
      expect(headers["access-control-allow-origin"]).toBe("*");
      expect(JSON.parse(body)).toEqual(document);
    }
  });

  it("11: the Matrix API is not served under the server name unless that is set", async () => {
    expect(await get(`https://${apex()}/_matrix/client/versions`)).toMatchObject({ status: 404 });
  });

  it("12: there is one account, an administrator, whose password is nowhere on the host", async () => {
    expect(await sql("SELECT name, admin, password_hash LIKE '$2b$%' FROM users")).toBe(`@admin:${apex()}|1|t`);
    expect(await run("ls -A /run/matrix-homeserver.* 2>/dev/null || true")).toBe("");
  });

  it("13: the service runs as an account that nobody can log in to", async () => {
    expect(await run("getent passwd synapse | cut -d: -f 6,7")).toBe("/opt/synapse:/sbin/nologin");
    expect(await run("systemctl is-enabled synapse; systemctl is-active synapse")).toBe("enabled\nactive");
    expect(await run("ps -o user=,group= -p $(systemctl show synapse --property MainPID --value)")).toMatch(
      /^synapse +synapse$/,
    );
    expect(await run("systemctl --failed --plain --no-legend")).toBe("");
  });

  it("13: what Synapse reads and writes is its account's, and closed to everybody else", async () => {
    const paths = ["homeserver.yaml", "log.yaml", `${apex()}.signing.key`, "media_store", "secrets"];
    expect(await run(`cd /opt/synapse && stat -c '%n %a %U:%G' . ${paths.join(" ")}`)).toBe(
      [
        ". 755 synapse:synapse",
        "homeserver.yaml 640 synapse:synapse",
        "log.yaml 640 synapse:synapse",
        `${apex()}.signing.key 600 synapse:synapse`,
        "media_store 750 synapse:synapse",
        "secrets 750 synapse:synapse",
      ].join("\n"),
    );
    const others = "find /opt/synapse -not -type l ( -perm /022 -o -not -user synapse -perm /o+w )".replace(
      /[()]/g,
      "\\$&",
    );
    expect(await run(others)).toBe("");
  });
}
