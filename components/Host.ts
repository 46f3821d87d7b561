import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { DATA, LIBEXEC, STATE, type Machine } from "./Machine";
import { dependencies } from "./options";
import { PLATFORMS, platformLines, POSTGRESQL_NEEDS, postgresqlNeedLines, SUPPORTED_SYSTEMS } from "./platforms";
import { RemoteScript } from "./RemoteScript";
import { quote, readScript } from "./shell";

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
  /** Whether PostgreSQL runs on the machine, so that its version counts. Default: true. */
  readonly localDatabase?: boolean;
  /** Major version of PostgreSQL. Data of another are refused. Default: the one that has data on the machine; else the newest that its repositories have of `PLATFORMS`. */
  readonly postgresqlVersion?: number;
  /** Server, http or https, that has what the mirrors of CentOS gave up, laid out as CentOS's own. Default: `https://vault.centos.org`. */
  readonly vaultUrl?: pulumi.Input<string>;
  /** Resources on it to run again, as {@link Machine} has it. Default: none. */
  readonly reconcile?: Readonly<Record<string, string>>;
}

/** What the machine said of itself when it was first looked at. */
export interface HostFacts {
  /** `ID` of /etc/os-release, for example `almalinux`. */
  readonly os: string;
  /** `VERSION_ID`, for example `8.10`; with the minor number on CentOS Linux, too. */
  readonly release: string;
  /** `uname -m`. */
  readonly architecture: string;
  /** Whether SELinux is enabled. */
  readonly selinux: boolean;
  /** The Python command that makes virtual environments, and its package. */
  readonly python: string;
  readonly pythonPackage: string;
  /** Streams of the dnf modules: those in use, else what the machine's repositories have of `PLATFORMS`. */
  readonly postgresqlStream: string;
  readonly nginxStream: string;
  /** Whether it has IPv6. */
  readonly ipv6: boolean;
}

/** What scripts/host.sh answers. */
type Look = Pick<HostFacts, "os" | "release" | "architecture" | "selinux" | "ipv6"> &
  Readonly<Record<"pythons" | "postgresqlStreams" | "nginxStreams", string>> & { readonly vaultOnly: boolean };

/** What scripts/repositories.sh answers. */
type Choice = Pick<HostFacts, "python" | "pythonPackage" | "postgresqlStream" | "nginxStream">;

/** The machine: one connection that all commands share, its facts, and the refusal of what it cannot serve. */
export class Host extends pulumi.ComponentResource implements Machine {
  readonly connection: pulumi.Output<types.input.remote.ConnectionArgs>;
  readonly asRoot: string;
  readonly ready: pulumi.Resource;
  readonly reconcile: Readonly<Record<string, string>>;
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
      // A machine that is still booting refuses or drops connections for a while: a minute of refusals, or three without an
      // answer.
      dialErrorLimit: 20,
      perDialTimeout: 5,
    });

    this.reconcile = args.reconcile ?? {};
    const { connection, asRoot, reconcile } = this;
    const machine = { connection, asRoot, reconcile };
    const look = new RemoteScript(
      `${name}-facts`,
      {
        host: machine,
        script: "host.sh",
        ...(user !== "root" && { onFailure: `sudo -n true 2>/dev/null || echo ${quote(sudoSentence(user))} >&2` }),
        variables: {
          PLATFORMS: platformLines(PLATFORMS),
          POSTGRESQL_NEEDS: postgresqlNeedLines(POSTGRESQL_NEEDS),
          SUPPORTED_SYSTEMS,
          SYNAPSE_VERSION: args.synapseVersion,
          LOCAL_DATABASE: String(args.localDatabase ?? true),
          POSTGRESQL: args.postgresqlVersion ?? "",
          FREE_MB: 2048,
          UPDATE_FREE_MB: 512,
          STACK: args.stack,
          STATE,
        },
        onDelete: { script: "remove-paths.sh", variables: { PATHS: [LIBEXEC, STATE, `${DATA}/staged`].join("\n") } },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const claim = new RemoteScript(
      `${name}-claim`,
      {
        host: machine,
        script: "claim.sh",
        variables: { STACK: args.stack, STATE, LIBEXEC, INSTALL_FILE: readScript("install-file.sh") },
      },
      { parent: this, dependsOn: look },
    );
    const seen = look.stdout.apply((json) => JSON.parse(json) as Look);
    const repositories = new RemoteScript(
      `${name}-repositories`,
      {
        host: machine,
        script: "repositories.sh",
        variables: {
          VAULT_URL: pulumi
            .all([seen, args.vaultUrl ?? "https://vault.centos.org"])
            .apply(([{ vaultOnly }, vaultUrl]) => (vaultOnly ? vaultUrl : "")),
          PYTHONS: seen.pythons,
          // Said by the stack, it is known to a preview.
          POSTGRESQL_STREAMS: args.postgresqlVersion ?? seen.postgresqlStreams,
          NGINX_STREAMS: seen.nginxStreams,
        },
      },
      { parent: this, dependsOn: claim },
    );
    this.ready = repositories;
    this.facts = pulumi
      .all([seen, repositories.stdout])
      .apply(([{ os, release, architecture, selinux, ipv6 }, json]) => ({
        ...{ os, release, architecture, selinux, ipv6 },
        ...(JSON.parse(json) as Choice),
        ...(args.postgresqlVersion !== undefined && { postgresqlStream: String(args.postgresqlVersion) }),
      }));

    this.registerOutputs({ facts: this.facts });
  }
}

function sudoSentence(user: string): string {
  return `error: ${user} may not use sudo without a password on this machine: as root, run "echo '${user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/${user}" there, or set host.user to a user who may`;
}
