import { connect, type PeerCertificate } from "node:tls";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run } from "./process";

/** The certificate that a server shows for a name; whoever it is from. */
export async function servedCertificate(address: string, name: string): Promise<PeerCertificate> {
  return await new Promise((resolve, reject) => {
    // Looked at only: what is sent over such a connection is nothing.
    const socket = connect({ host: address, port: 443, servername: name, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.setTimeout(10_000, () => socket.destroy(new Error(`${name} did not answer within 10 s`)));
    socket.on("error", reject);
  });
}

/** A certificate for names, and the authority that it is from. */
export interface Issued {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Makes an authority and a certificate of it. */
export async function issue(names: readonly string[], days = 90): Promise<Issued> {
  const folder = await mkdtemp(join(process.env.E2E_TMP ?? tmpdir(), "issue-"));
  try {
    const openssl = async (...args: string[]) => {
      const { code, stderr } = await run("openssl", args, { cwd: folder, timeoutSeconds: 30 });
      if (code !== 0) throw new Error(stderr);
    };
    const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    await openssl(
      ...["req", "-x509", ...newKey, "-subj", "/CN=Authority of the tests", "-days", "365"],
      ...["-keyout", "ca.key", "-out", "ca.crt"],
    );
    await openssl(
      "req",
      "-new",
      ...newKey,
      "-subj",
      `/CN=${names[0] ?? ""}`,
      "-keyout",
      "key.pem",
      "-out",
      "request.csr",
    );
    await writeFile(join(folder, "names"), `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}\n`);
    await openssl(
      ...["x509", "-req", "-in", "request.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"],
      ...["-days", String(days), "-extfile", "names", "-out", "certificate.pem"],
    );
    const read = (file: string) => readFile(join(folder, file), "utf8");
    return { ca: await read("ca.crt"), certificate: await read("certificate.pem"), key: await read("key.pem") };
  } finally {
    await rm(folder, { recursive: true });
  }
}
