import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { type Machine, stampsOf, STATE } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import { SystemdUnit } from "./SystemdUnit";
import { renderTemplate } from "./templates";

/** Arguments of {@link Redis}. */
export interface RedisArgs {
  /** The machine. */
  readonly host: Machine;
  /** Name of its unit, without `.service`: beside the system's own `redis`, which may be somebody else's. */
  readonly unit: string;
  /** Streams of the dnf module `redis` that will do, in order of preference. Default: 7, 6. */
  readonly streams?: readonly string[];
  /** Any text: with another one the password is made anew. Default: none, and it stays. */
  readonly rotation?: string;
  /** Port on this machine; SELinux knows 6379, 16379 and 26379 as Redis's. Default: 16379. */
  readonly port?: number;
}

/** A Redis by which processes on the machine tell each other news: behind a password, on the loopback, and it keeps nothing on disk. */
export class Redis extends pulumi.ComponentResource {
  readonly port: number;
  /** Secret. */
  readonly password: pulumi.Output<string>;

  constructor(name: string, args: RedisArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Redis", name, {}, opts);
    const { host, unit, rotation, streams = ["7", "6"], port = 16379 } = args;
    const configFile = `${STATE}/${unit}.conf`;
    this.port = port;
    this.password = new random.RandomPassword(
      `${name}-password`,
      { length: 50, special: false, ...(rotation !== undefined && { keepers: { rotation } }) },
      { parent: this },
    ).result;

    const stream = new RemoteScript(
      `${name}-stream`,
      { host, script: "module-stream.sh", variables: { MODULE: "redis", STREAMS: streams.join(" ") } },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const packages = new Packages(
      `${name}-packages`,
      { host, module: pulumi.interpolate`redis:${stream.stdout}`, packages: ["redis"] },
      { parent: this, dependsOn: stream },
    );
    const content = pulumi.secret(
      this.password.apply((password) => renderTemplate("etc/matrix-homeserver/redis.conf", { port, password })),
    );
    const config = new RemoteFile(
      `${name}-config`,
      { host, path: configFile, content, owner: "root:redis", mode: "0640" },
      { parent: this, dependsOn: packages },
    );
    new SystemdUnit(
      `${name}-service`,
      {
        host,
        unit,
        description: "News between the processes of the Matrix homeserver",
        user: "redis",
        workingDirectory: "/var/lib/redis",
        command: `/usr/bin/redis-server ${configFile}`,
        // Nobody guesses 50 random letters from their hash.
        reads: pulumi.unsecret(content.apply((text) => fingerprint(text, ...stampsOf(host, [config.name])))),
        probe: `[[ $(REDISCLI_AUTH=$(sed -n 's/^requirepass //p' ${configFile}) redis-cli -h 127.0.0.1 -p ${port} ping) == PONG ]]`,
      },
      { parent: this, dependsOn: config },
    );

    this.registerOutputs();
  }
}
