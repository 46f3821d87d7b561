// one change: seconds until it is live and what fails meanwhile, this program, Ansible with tags, by hand
import { X509Certificate } from "node:crypto";

import { z } from "zod";

import { Deployment } from "../test/e2e/deployment";
import { issue, servedCertificate, type Issued } from "../test/e2e/certificates";
import { ansible } from "./contenders/ansible";
import { freshTarget, type Target } from "./contenders/target";
import { interleaved, main, median, printTable, publish, roundsWanted } from "./lib";
import { probe, type Ask, type Seen, type Watched } from "./libProbe";

/** A change that is ready to be made, and how it shows. */
interface Way {
  readonly on: Watched;
  readonly change: () => Promise<unknown>;
  readonly shows: (get: Ask) => Promise<boolean>;
}

const MEGABYTE = 1024 * 1024;
const BY_HAND = "/etc/pki/matrix/server";
/** A limit on what anybody may ask for, so that it shows without anything being written. */
const RATE_LIMIT = "rc_registration_token_validity";
const mediaConfig = z.object({ "m.upload.size": z.number() });

main(async () => {
  const play = await ansible.prepare();
  const ours = await Deployment.prepare("change");
  let theirs: Target | undefined;
  try {
    theirs = await freshTarget("change-a");
    const target = theirs;
    await play(target);
    const names = (serverName: string) => [serverName, `matrix.${serverName}`, `synapse.${serverName}`];
    const rounds = roundsWanted();
    const certificates = {
      ours: await issued(names(ours.serverName), rounds + 1),
      // One for Ansible and one by hand, every round.
      theirs: await issued(names(target.serverName), 2 * rounds + 1),
    };
    const setOwn = async (certificate: Issued) => {
      await ours.stack.set({ "tls.certificate": certificate.certificate, "tls.ca": certificate.ca });
      await ours.stack.setSecret("tls.key", certificate.key);
    };
    const up = () => ours.stack.up();
    await ours.stack.set({
      "tls.mode": "provided",
      "homeserver.rc_login.account.burst_count": 1000,
      "homeserver.rc_login.address.burst_count": 1000,
      [`homeserver.${RATE_LIMIT}.burst_count`]: 1e6,
    });
    await setOwn(nth(certificates.ours, 0));
    await up();
    await play(target, { tags: "certificate", certificate: nth(certificates.theirs, 0) });

    const { baseUrl, hostAddress, adminPassword } = await ours.outputs();
    const bundle = (all: readonly Issued[]) => all.map(({ ca }) => ca).join("");
    const here: Watched = {
      baseUrl,
      address: hostAddress,
      ca: bundle(certificates.ours),
      user: "admin",
      password: adminPassword,
    };
    const there: Watched = {
      baseUrl: `https://matrix.${target.serverName}`,
      address: target.host.facts.address,
      ca: bundle(certificates.theirs),
      user: "admin",
      password: target.adminPassword,
    };

    const limit = (megabytes: number) => async (get: Ask) =>
      mediaConfig.parse(await get("v1/media/config"))["m.upload.size"] === megabytes * MEGABYTE;
    // Beyond it Synapse waits half a second before it says so.
    const isLimited = async (get: Ask) => {
      const said = () => get("v1/register/m.login.registration_token/validity?token=none").catch(String);
      await said();
      return String(await said()).includes(" 429 ");
    };
    const setRate = (burst: number) => ours.stack.set({ [`homeserver.${RATE_LIMIT}.burst_count`]: burst });
    const setRateByHand = (burst: number) =>
      target.host.run(`
sed -i 's/^${RATE_LIMIT}: .*/${RATE_LIMIT}: { burst_count: ${burst} }/' /opt/synapse/homeserver.yaml
systemctl restart synapse`);
    const certificate =
      ({ address, baseUrl }: Watched, { certificate }: Issued) =>
      async () =>
        (await servedCertificate(address, new URL(baseUrl).hostname)).fingerprint256 ===
        new X509Certificate(certificate).fingerprint256;

    const ways: Record<string, (round: number) => Promise<Way>> = {
      "upload limit, pulumi up": async (round) => {
        await ours.stack.set({ "homeserver.max_upload_size": `${100 + round}M` });
        return { on: here, change: up, shows: limit(100 + round) };
      },
      "upload limit, Ansible": (round) =>
        Promise.resolve({
          on: there,
          change: () => play(target, { tags: "upload-limit", uploadLimit: `${100 + round}M` }),
          shows: limit(100 + round),
        }),
      "upload limit, by hand": (round) =>
        Promise.resolve({
          on: there,
          change: () =>
            target.host.run(`
sed -i 's/^max_upload_size: .*/max_upload_size: ${200 + round}M/' /opt/synapse/homeserver.yaml
sed -i 's/client_max_body_size .*/client_max_body_size ${200 + round}M;/' /etc/nginx/conf.d/matrix.conf
systemctl restart synapse
nginx -t -q && systemctl reload nginx`),
          shows: limit(200 + round),
        }),
      "rate limit, pulumi up": async () => {
        await setRate(1e6);
        await up();
        await setRate(1);
        return { on: here, change: up, shows: isLimited };
      },
      "rate limit, Ansible": async () => {
        await setRateByHand(1e6);
        return { on: there, change: () => play(target, { tags: "rate-limit", rateLimit: 1 }), shows: isLimited };
      },
      "rate limit, by hand": async () => {
        await setRateByHand(1e6);
        return { on: there, change: () => setRateByHand(1), shows: isLimited };
      },
      "certificate, pulumi up": async (round) => {
        const next = nth(certificates.ours, round);
        await setOwn(next);
        return { on: here, change: up, shows: certificate(here, next) };
      },
      "certificate, Ansible": (round) => {
        const next = nth(certificates.theirs, 2 * round - 1);
        return Promise.resolve({
          on: there,
          change: () => play(target, { tags: "certificate", certificate: next }),
          shows: certificate(there, next),
        });
      },
      "certificate, by hand": (round) => {
        const next = nth(certificates.theirs, 2 * round);
        return Promise.resolve({
          on: there,
          change: () =>
            target.host.run(`
umask 077
cat >${BY_HAND}.key <<'PEM'
${next.key}
PEM
cat >${BY_HAND}.crt <<'PEM'
${next.certificate}
PEM
chmod 644 ${BY_HAND}.crt
nginx -t -q && systemctl reload nginx`),
          shows: certificate(there, next),
        });
      },
    };
    // When a worker is there is known by the end of its update.
    const workers = (generic: number) => async (): Promise<Way> => {
      await ours.stack.set({ "workers.generic": generic });
      let isMade = false;
      const change = async () => {
        await up();
        isMade = true;
      };
      return { on: here, change, shows: () => Promise.resolve(isMade) };
    };

    const seen: Record<string, Seen[]> = {};
    const watched = (some: typeof ways) =>
      Object.fromEntries(
        Object.entries(some).map(([name, prepare]) => [
          name,
          async (round: number) => {
            const { on, change, shows } = await prepare(round);
            const result = await probe(on, change, shows);
            (seen[name] ??= []).push(result);
            return result.liveSeconds;
          },
        ]),
      );
    const measured = {
      ...(await interleaved(watched(ways), rounds)),
      // The first brings Redis with it, and has Synapse itself restarted.
      ...(await interleaved(
        watched({ "the first worker, pulumi up": workers(1), "a worker more, pulumi up": workers(2) }),
        1,
      )),
    };
    publish({ what: "one-change", unit: "s", rounds: measured, notes: { seen } });
    const middle = (of: readonly Seen[], what: Exclude<keyof Seen, "reasons">, digits = 1) =>
      median(of.map((one) => one[what])).toFixed(digits);
    printTable([
      ["medians of the rounds", "s until live", "s until done", "failed requests", "of", "from first to last, s"],
      ...Object.entries(seen).map(([name, of]) => [
        name,
        middle(of, "liveSeconds"),
        middle(of, "doneSeconds"),
        middle(of, "failed", 0),
        middle(of, "requests", 0),
        middle(of, "failingSeconds", 2),
      ]),
    ]);
  } finally {
    await theirs?.host.remove();
    await ours.remove();
  }
});

/** So many certificates for the same names, each of an authority of its own. */
async function issued(names: readonly string[], count: number): Promise<Issued[]> {
  return await Promise.all(Array.from({ length: count }, () => issue(names)));
}

function nth<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`there is no item ${index}`);
  return item;
}
