import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { DATA, LIBEXEC, STATE, type Machine } from "./Machine";
import { PLATFORMS, platformLines } from "./platforms";
import { RemoteScript } from "./RemoteScript";
import { readScript } from "./shell";

/** Where the machine is and how to log in to it. */
export interface HostArgs {
  /** Host name or IP address. */
  readonly address: pulumi.Input<string>;
  /** SSH port. Default: 22. */
  readonly port?: pulumi.Input<number>;
  /** Login user: `root`, or one with passwordless sudo. Default: `root`. */
  readonly user?: string;
  /** The machine's public SSH host key, `ssh-ed25519 AAAA…`: no other machine is trusted in its place. */
  readonly hostKey: pulumi.Input<string>;
  /** Private SSH key. Default: the keys of the running ssh-agent. */
  readonly privateKey?: pulumi.Input<string>;
  /** Who keeps the machine: `project/stack`. A machine that another one keeps is refused. */
  readonly stack: string;
  /** The Synapse release that the machine must be able to run. */
  readonly synapseVersion: pulumi.Input<string>;
}

/** What the machine said of itself when it was first looked at. */
export interface HostFacts {
  /** `ID` of /etc/os-release, for example `almalinux`. */
  readonly os: string;
  /** `VERSION_ID`, for example `8.10`. */
  readonly release: string;
  /** `uname -m`. */
  readonly architecture: string;
  /** Whether SELinux is enabled. */
  readonly selinux: boolean;
  /** See {@link Platform}. */
  readonly python: string;
  readonly pythonPackage: string;
  readonly postgresqlStream: string;
  readonly nginxStream: string;
  /** Whether it has IPv6. */
  readonly ipv6: boolean;
}

/** The machine: one connection that all commands share, its facts, and the refusal of what it cannot serve. */
export class Host extends pulumi.ComponentResource implements Machine {
  readonly connection: pulumi.Output<types.input.remote.ConnectionArgs>;
  readonly asRoot: string;
  readonly ready: pulumi.Resource;
  /** Known once the machine was reached; it is not asked again until the question changes. */
  readonly facts: pulumi.Output<HostFacts>;

  constructor(name: string, args: HostArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:Host", name, {}, opts);

    const user = args.user ?? "root";
    this.asRoot = user === "root" ? "" : "sudo -n ";
    const { privateKey } = args;
    this.connection = pulumi.secret({
      host: args.address,
      port: args.port ?? 22,
      user,
      hostKey: args.hostKey,
      ...(privateKey !== undefined && { privateKey }),
      // A machine that is still booting refuses or drops connections for a while: about five minutes in all.
      dialErrorLimit: 60,
      perDialTimeout: 15,
    });

    const look = new RemoteScript(
      `${name}-facts`,
      {
        host: { connection: this.connection, asRoot: this.asRoot },
        script: "host.sh",
        variables: {
          PLATFORMS: platformLines(PLATFORMS),
          SYNAPSE_VERSION: args.synapseVersion,
          MIN_FREE_MB: 2048,
          LIBEXEC,
          INSTALL_FILE: readScript("install-file.sh"),
          STACK: args.stack,
          STATE,
        },
        onDelete: { script: "remove-paths.sh", variables: { PATHS: [LIBEXEC, STATE, `${DATA}/staged`].join("\n") } },
      },
      { parent: this },
    );
    this.ready = look;
    this.facts = look.stdout.apply((json) => JSON.parse(json) as HostFacts);

    this.registerOutputs({ facts: this.facts });
  }
}
