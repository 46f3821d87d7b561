import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { DATA } from "./Machine";
import { LOCKS, type PythonOnHost, PythonVenv } from "./PythonVenv";
import type { SystemUser } from "./SystemUser";

/** What building Synapse's dependencies on the host takes, by EL8's names. */
const BUILD_PACKAGES = [
  ...["libtiff-devel", "libjpeg-devel", "libzip-devel", "freetype-devel", "lcms2-devel", "libwebp-devel", "tcl-devel"],
  ...["tk-devel", "redhat-rpm-config", "libffi-devel", "openssl-devel", "libpq-devel"],
];

/** Arguments of {@link SynapseVenv}. */
export interface SynapseVenvArgs extends PythonOnHost {
  /** The account that owns it. */
  readonly user: SystemUser;
  /** Release of Synapse; requirements/ must hold its lock. */
  readonly version: string;
  /** Compile what has C code in it on the machine instead of taking its authors' wheels. Default: false. */
  readonly buildFromSource?: boolean;
}

/**
 * A release of Synapse in a virtual environment of its own, `releases/VERSION-…`, installed beside whichever is running.
 * Which of them runs is what the link `env` in the account's home says; SystemdService sets it.
 */
export class SynapseVenv extends PythonVenv {
  constructor(name: string, args: SynapseVenvArgs, opts?: pulumi.ComponentResourceOptions) {
    const { host, user, version, python, pythonPackage, indexUrl, buildFromSource = false } = args;
    const folder = `${user.home}/releases`;
    const link = `${user.home}/env`;
    super(
      name,
      {
        ...{ host, python, pythonPackage, folder, link },
        ...(indexUrl !== undefined && { indexUrl }),
        title: `Synapse ${version}`,
        lock: readLock(version, buildFromSource),
        probe: `import psycopg2, synapse; assert synapse.__version__ == "${version}", f"Synapse {synapse.__version__} instead of ${version}"`,
        release: version,
        inUseAtOnce: false,
        requirements: `${DATA}/synapse-requirements.txt`,
        owner: user,
        ...(buildFromSource && {
          build: {
            packages: [pulumi.interpolate`${pythonPackage}-devel`, ...BUILD_PACKAGES],
            group: "Development Tools",
            noBinary: "psycopg2,pillow",
          },
        }),
        removed: folder,
        timeoutSeconds: 3600,
      },
      opts,
      "matrix-homeserver:index:SynapseVenv",
    );
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
