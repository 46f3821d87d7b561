/* What nginx lets through and what it keeps out, and how it lives beside a site that the operator has already. */
import { request } from "node:https";

import { LabClient } from "../../lab/client/client";
import { ask, isOpen, type Answer } from "./ask";
import { issue } from "./certificates";
import { Deployment, type Outputs } from "./deployment";

jest.setTimeout(300_000);

let deployment: Deployment;
let outputs: Outputs;

beforeAll(async () => {
  deployment = await Deployment.prepare("prx");
  await deployment.stack.set({ "homeserver.rc_login.account.burst_count": 100, "homeserver.max_upload_size": "3M" });
  await deployment.stack.up();
  outputs = await deployment.outputs();
});

afterAll(async () => {
  await deployment.remove();
});

const get = (url: string, ca = outputs.caCertificate): Promise<Answer> => ask(url, outputs.hostAddress, ca);

/** Sends bytes as a client uploads media, and gives the status. */
async function upload(bytes: number, token: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const { host } = new URL(outputs.baseUrl);
    const sending = request(
      `${outputs.baseUrl}/_matrix/media/v3/upload?filename=zeros`,
      {
        method: "POST",
        ca: outputs.caCertificate,
        servername: host,
        agent: false,
        headers: {
          Authorization: `Bearer ${token}`,
          "Content-Type": "application/octet-stream",
          "Content-Length": bytes,
        },
        lookup: (_name, options, callback) => {
          if (options.all) callback(null, [{ address: outputs.hostAddress, family: 4 }]);
          else callback(null, outputs.hostAddress, 4);
        },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    // nginx hangs up on what is too large before it has read it all.
    sending.on("error", reject);
    sending.end(Buffer.alloc(bytes));
  });
}

async function token(): Promise<string> {
  const answer = await deployment.host.run(`
curl -s --cacert /etc/pki/matrix-homeserver/ca.crt --resolve matrix.${deployment.serverName}:443:127.0.0.1 --data @- \\
  https://matrix.${deployment.serverName}/_matrix/client/v3/login <<'JSON'
${JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user: outputs.adminUserId }, password: outputs.adminPassword })}
JSON`);
  return (JSON.parse(answer) as { access_token: string }).access_token;
}

it("takes uploads up to Synapse's limit, and no larger ones", async () => {
  const access = await token();
  expect(await upload(2_900_000, access)).toBe(200);
  expect(await upload(3_300_000, access)).toBe(413);
});

it("keeps the admin API closed, and opens it to the networks that are named", async () => {
  const { stack } = deployment;
  const url = `${outputs.baseUrl}/_synapse/admin/v1/server_version`;
  expect((await get(url)).status).toBe(404);
  await stack.set({ "nginx.adminNetworks[0]": "192.0.2.0/24" });
  await stack.up();
  expect((await get(url)).status).toBe(403);
  await stack.set({ "nginx.adminNetworks[1]": "198.51.100.0/24" });
  await stack.up();
  // Synapse's own words: nobody is logged in.
  expect((await get(url)).body).toMatch(/M_MISSING_TOKEN|server_version/);
});

it("holds a request for news open for longer than nginx's own minute", async () => {
  const access = await token();
  const started = Date.now();
  const { status } = await ask(
    `${outputs.baseUrl}/_matrix/client/v3/sync?timeout=70000&set_presence=offline&since=${await since(access)}`,
    outputs.hostAddress,
    outputs.caCertificate,
    { Authorization: `Bearer ${access}` },
    90_000,
  );
  expect(status).toBe(200);
  expect(Date.now() - started).toBeGreaterThan(65_000);
});

async function since(access: string): Promise<string> {
  const { body } = await ask(
    `${outputs.baseUrl}/_matrix/client/v3/sync?set_presence=offline`,
    outputs.hostAddress,
    outputs.caCertificate,
    {
      Authorization: `Bearer ${access}`,
    },
  );
  return (JSON.parse(body) as { next_batch: string }).next_batch;
}

it("says HSTS when it is told to, and serves port 8448", async () => {
  const { stack, serverName } = deployment;
  expect(
    (await get(`${outputs.baseUrl}/_matrix/client/versions`)).headers["strict-transport-security"],
  ).toBeUndefined();
  expect(await isOpen(outputs.hostAddress, 8448)).toBe(false);
  await stack.set({ "nginx.hsts": true, "nginx.federationPort": true });
  await stack.up();
  const discovery = ["client", "server"].map((name) => `https://${serverName}/.well-known/matrix/${name}`);
  for (const url of [`${outputs.baseUrl}/_matrix/client/versions`, `https://${serverName}/`, ...discovery])
    expect({ url, ...(await get(url)).headers }).toMatchObject({
      url,
      "strict-transport-security": "max-age=31536000",
    });
  const federation = await get(`https://${serverName}:8448/_matrix/federation/v1/version`);
  expect(federation.body).toContain("Synapse");
});

describe("with a site of the operator's own on the server name", () => {
  it("only writes the snippet that the site includes", async () => {
    const { host, stack, serverName } = deployment;
    const own = await issue([serverName]);
    await stack.set({ "nginx.apexSite": "snippet" });
    await stack.up();
    expect((await deployment.outputs()).nextSteps).toContain(
      `Let the site of ${serverName} answer /.well-known/matrix/client and /server`,
    );
    await host.run(`
cat >/etc/nginx/conf.d/own-site.conf <<'CONF'
server {
    listen 443 ssl;
    server_name ${serverName};
    ssl_certificate /etc/nginx/own.crt;
    ssl_certificate_key /etc/nginx/own.key;
    include /etc/nginx/matrix-homeserver/well-known.conf;
    location / { return 200 'a site of its own'; }
}
CONF
cat >/etc/nginx/own.crt <<'PEM'
${own.certificate}
PEM
cat >/etc/nginx/own.key <<'PEM'
${own.key}
PEM
nginx -t 2>&1 && systemctl reload nginx && sleep 1`);
    expect((await get(`https://${serverName}/`, own.ca)).body).toBe("a site of its own");
    const { headers } = await get(`https://${serverName}/.well-known/matrix/client`, own.ca);
    expect(headers["strict-transport-security"]).toBeUndefined();
    const client = new LabClient({
      serverName,
      address: outputs.hostAddress,
      ca: own.ca + outputs.caCertificate,
      user: outputs.adminUserId,
      password: outputs.adminPassword,
    });
    try {
      await client.login();
      expect((await client.sendAndReadBack("by way of another site")).body).toBe("by way of another site");
    } finally {
      await client.close();
    }
  });

  it("keeps the earlier configuration when the two do not go together, and says why", async () => {
    const { host, stack } = deployment;
    // A mistake of the operator's that nginx has not been told of yet.
    await host.run("echo 'this is no directive;' >/etc/nginx/conf.d/mistake.conf");
    await stack.set({ "nginx.hsts": false });
    await expect(stack.up()).rejects.toThrow(/unknown directive "this"[^]*the old one was left in place/);
    expect(
      (await get(`${outputs.baseUrl}/_matrix/client/versions`)).headers["strict-transport-security"],
    ).toBeDefined();
    await host.run("rm /etc/nginx/conf.d/mistake.conf");
    await stack.up();
    expect(
      (await get(`${outputs.baseUrl}/_matrix/client/versions`)).headers["strict-transport-security"],
    ).toBeUndefined();
  });
});
