import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { Homeserver } from "../../../components/Homeserver";
import { spareDebugging } from "../../../components/spareDebugging";
import { lockedVersions } from "../../../components/SynapseVenv";

spareDebugging();

// The machines do not exist: 192.0.2.0/24 is nobody's.
const settings = new pulumi.Config();
const generic = settings.requireNumber("workers");
for (let number = 1; number <= settings.requireNumber("homeservers"); number++) {
  const serverName = `h${number}.example.com`;
  const prefix = `h${number}-`;
  new Homeserver(serverName, {
    prefix,
    serverName,
    domains: [`matrix.${serverName}`, `synapse.${serverName}`],
    host: {
      address: `192.0.2.${number}`,
      hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAgU5JE9enyH2FMx2koR2hkbUM8k8msT38Go880QZQYe",
      stack: `many/${number}`,
    },
    synapse: { version: lockedVersions().at(-1) ?? "" },
    workers: { generic, federationSender: 0, pusher: 0, media: 0, backgroundTasks: 0 },
    dbPassword: new random.RandomPassword(`${prefix}database-password`, { length: 32 }).result,
    admin: { localpart: "admin" },
    tls: { mode: "selfsigned" },
  });
}
