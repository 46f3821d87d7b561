import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { CloudInit } from "../components/CloudInit";
import { sshHostKey } from "../components/sshHostKey";

const config = new pulumi.Config();
const hostname = config.require("hostname");

const seed = new random.RandomBytes("host-key", { length: 32 });
const key = seed.base64.apply((text) => sshHostKey(Buffer.from(text, "base64"), hostname));

const cloudInit = new CloudInit("user-data", {
  hostname,
  loginUser: config.require("loginUser"),
  authorizedKeys: config.requireObject<string[]>("authorizedKeys"),
  hostKey: { privateKey: key.privateKey, publicKey: key.publicKey },
});

/** For the "user data" field of the cloud's form. Secret: the machine's private host key is in it. */
export const userData = cloudInit.userData;

/** The machine's public host key, for the homeserver's stack: its setting host.hostKey. */
export const hostKey = pulumi.unsecret(key.publicKey);
