import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";

import { CloudInit } from "../../components/CloudInit";
import { sshHostKey } from "../../components/sshHostKey";

const config = new pulumi.Config();
const name = config.require("name");
// It follows from the name alone, so that a committed stack can pin it before the host exists, on every machine alike.
// Everybody can make it, which is fine for what it guards: a throw-away host on a bridge that leads nowhere.
const key = sshHostKey(createHash("sha256").update(`matrix-lab host key ${name}`).digest(), `lab host ${name}`);

const cloudInit = new CloudInit("user-data", {
  hostname: `${name}.lab.test`,
  loginUser: config.require("loginUser"),
  authorizedKeys: [config.require("authorizedKey")],
  hostKey: { privateKey: pulumi.secret(key.privateKey), publicKey: key.publicKey },
});

/** What cloud-init on the host reads at its first boot. Secret. */
export const userData = cloudInit.userData;

/** The host's public SSH key, for the known_hosts of its clients. */
export const hostKey = key.publicKey;
