import { readFileSync } from "node:fs";

import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

const settings = new pulumi.Config();
// As every program that reads its settings.
const secret = settings.requireSecret("secret");

const connection = {
  host: settings.require("address"),
  user: settings.require("user"),
  hostKey: settings.require("hostKey"),
  privateKey: readFileSync(settings.require("privateKeyFile"), "utf8"),
};
let last: pulumi.Resource | undefined;
for (let number = 1; number <= settings.requireNumber("commands"); number++) {
  // One after the other, or an sshd would drop some of the connections.
  last = new remote.Command(`command-${number}`, { connection, create: "true" }, last && { dependsOn: last });
}
for (let number = 1; number <= settings.requireNumber("passwords"); number++) {
  new random.RandomPassword(`password-${number}`, { length: 32 });
}

export = () => ({ secret });
