import * as pulumi from "@pulumi/pulumi";

import { CloudInit } from "../../components/CloudInit";
import { labHostKey } from "../host/hostKey";

const config = new pulumi.Config();
const name = config.require("name");
const key = labHostKey(name);

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
