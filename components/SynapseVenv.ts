import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { DATA, type Machine } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import type { SystemUser } from "./SystemUser";

const LOCKS = join(__dirname, "..", "requirements");

/** What building Synapse's dependencies on the host takes, by EL8's names. */
const BUILD_PACKAGES = [
  ...["libtiff-devel", "libjpeg-devel", "libzip-devel", "freetype-devel", "lcms2-devel", "libwebp-devel", "tcl-devel"],
  ...["tk-devel", "redhat-rpm-config", "libffi-devel", "openssl-devel", "libpq-devel"],
];

/** Arguments of {@link SynapseVenv}. */
export interface SynapseVenvArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that owns it. */
  readonly user: SystemUser;
  /** Release of Synapse; requirements/ must hold its lock. */
  readonly version: string;
  /** The Python command, for example `python3.12`. */
  readonly python: pulumi.Input<string>;
  /** The package that has it. */
  readonly pythonPackage: pulumi.Input<string>;
  /** Package index (PEP 503) for a machine that does not reach the public one. Default: the public one. */
  readonly indexUrl?: string;
  /** Compile what has C code in it on the machine instead of taking its authors' wheels. Default: false. */
  readonly buildFromSource?: boolean;
}

/**
 * A release of Synapse in a virtual environment of its own, `releases/VERSION-…`, installed beside whichever is running.
 * Which of them runs is what the link `env` in the account's home says; SystemdService sets it.
 */
export class SynapseVenv extends pulumi.ComponentResource {
  /** Absolute path of this release's virtual environment. */
  readonly release: pulumi.Output<string>;
  /** The link that names the release in use. */
  readonly link: string;
  /** Python. Everything else that dnf installs does well to wait for it, for Synapse takes longest and dnf does one thing at a time. */
  readonly packages: pulumi.Resource;

  constructor(name: string, args: SynapseVenvArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SynapseVenv", name, {}, opts);
    const { host, user, version, indexUrl = "", buildFromSource = false } = args;
    const python = pulumi.output(args.python);
    const lock = readLock(version, buildFromSource);
    const releases = `${user.home}/releases`;
    this.link = `${user.home}/env`;
    this.release = python.apply((command) => `${releases}/${version}-${fingerprint(lock, command)}`);

    this.packages = new Packages(
      `${name}-packages`,
      buildFromSource
        ? {
            host,
            packages: [args.pythonPackage, pulumi.interpolate`${args.pythonPackage}-devel`, ...BUILD_PACKAGES],
            group: "Development Tools",
          }
        : { host, packages: [args.pythonPackage] },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const requirements = new RemoteFile(
      `${name}-requirements`,
      { host, path: `${DATA}/synapse-requirements.txt`, content: lock },
      { parent: this, dependsOn: dependencies(opts) },
    );
    new RemoteScript(
      `${name}-install`,
      {
        host,
        script: "python-venv.sh",
        variables: {
          RELEASE: this.release,
          LINK: this.link,
          PYTHON: python,
          REQUIREMENTS: requirements.path,
          TITLE: `Synapse ${version}`,
          PROBE: `import psycopg2, synapse; assert synapse.__version__ == "${version}", f"Synapse {synapse.__version__} instead of ${version}"`,
          USER_NAME: user.userName,
          INDEX_URL: indexUrl,
          NO_BINARY: buildFromSource ? "psycopg2,pillow" : "",
        },
        onDelete: { script: "remove-paths.sh", variables: { PATHS: [this.link, releases].join("\n") } },
        timeoutSeconds: 3600,
      },
      { parent: this, dependsOn: [this.packages, requirements, user] },
    );

    this.registerOutputs({ release: this.release, link: this.link });
  }
}

/** The releases of Synapse that requirements/ has a lock for, oldest first. */
export function lockedVersions(): string[] {
  return readdirSync(LOCKS)
    .flatMap((file) => /^synapse-(\d+\.\d+\.\d+\w*)\.txt$/.exec(file)?.[1] ?? [])
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

function readLock(version: string, fromSource: boolean): string {
  const file = join(LOCKS, `synapse-${version}${fromSource ? ".source" : ""}.txt`);
  if (!existsSync(file)) {
    throw new pulumi.InputPropertyError({
      propertyPath: "version",
      reason: `there is no lock for Synapse ${version}: choose one of ${lockedVersions().join(", ")}, or make it with 'make lock VERSION=${version}'`,
    });
  }
  return readFileSync(file, "utf8");
}
