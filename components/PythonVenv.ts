import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { type Machine, stampsOf } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import type { SystemUser } from "./SystemUser";

/** Where the locks are, a file a program. */
export const LOCKS = join(__dirname, "..", "requirements");
/** Folder on the host for programs that are no part of Synapse. */
const HOME = "/usr/local/lib/matrix-homeserver";

/** Where a Python program is installed, and what with. */
export interface PythonOnHost {
  /** The machine. */
  readonly host: Machine;
  /** The Python command that runs it, for example `python3.12`, and the package that has it. */
  readonly python: pulumi.Input<string>;
  readonly pythonPackage: pulumi.Input<string>;
  /** Package index (PEP 503) for a machine that does not reach the public one. Default: the public one. */
  readonly indexUrl?: string;
}

/** Arguments of {@link PythonVenv}. */
export interface PythonVenvArgs extends PythonOnHost {
  /** What a person calls it: `certbot`. */
  readonly title: string;
  /** Every package by its version and the hashes of its files, as pip and uv read it. */
  readonly lock: string;
  /** Python code that fails when the environment is not what it should be. */
  readonly probe: string;
  /** Folder for its releases, each of them an environment. */
  readonly folder: string;
  /** Name of a release is this, a hyphen and a fingerprint. */
  readonly release: string;
  /** Link to the release in use. */
  readonly link: string;
  /** Whether a new release is in use as soon as it is whole, and the earlier ones go; else something else points the link. */
  readonly inUseAtOnce: boolean;
  /** Path of the lock on the host. */
  readonly requirements: string;
  /** The account that owns it. Default: root. */
  readonly owner?: SystemUser;
  /** What is compiled on the machine, and what that takes by dnf's names. Default: nothing, all comes as wheels. */
  readonly build?: {
    readonly packages: readonly pulumi.Input<string>[];
    readonly group: string;
    readonly noBinary: string;
  };
  /** Folder that goes on `pulumi destroy`, as does the link into it. */
  readonly removed: string;
  /** Seconds after which the installation is ended. Default: 900. */
  readonly timeoutSeconds?: number;
}

/** A Python program in a virtual environment of its own, installed from a lock, which names every file by its hash. */
export class PythonVenv extends pulumi.ComponentResource {
  /** Absolute path of this release's virtual environment. */
  readonly release: pulumi.Output<string>;
  /** The link that names the release in use. */
  readonly link: string;
  /** Python. Everything else that dnf installs does well to wait for Synapse's, which takes longest, for dnf does one thing at a time. */
  readonly packages: pulumi.Resource;
  /** Changes when what is in the release was put right: what runs from it has to start again. */
  readonly repairs: string;

  constructor(
    name: string,
    args: PythonVenvArgs,
    opts?: pulumi.ComponentResourceOptions,
    type = "matrix-homeserver:index:PythonVenv",
  ) {
    super(type, name, {}, opts);
    const { host, lock, link, folder, build } = args;
    const python = pulumi.output(args.python);
    const first = { parent: this, dependsOn: dependencies(opts) };
    this.link = link;
    this.repairs = stampsOf(host, [`${name}-install`]).join();
    this.release = python.apply((command) => `${folder}/${args.release}-${fingerprint(lock, command)}`);

    this.packages = new Packages(
      `${name}-packages`,
      {
        host,
        packages: [args.pythonPackage, ...(build?.packages ?? [])],
        ...(build && { group: build.group }),
      },
      first,
    );
    const requirements = new RemoteFile(
      `${name}-requirements`,
      { host, path: args.requirements, content: lock },
      first,
    );
    new RemoteScript(
      `${name}-install`,
      {
        host,
        script: "python-venv.sh",
        variables: {
          RELEASE: this.release,
          LINK: link,
          IN_USE_AT_ONCE: String(args.inUseAtOnce),
          PYTHON: python,
          REQUIREMENTS: requirements.path,
          TITLE: args.title,
          PROBE: args.probe,
          USER_NAME: args.owner?.userName ?? "root",
          INDEX_URL: args.indexUrl ?? "",
          NO_BINARY: build?.noBinary ?? "",
          UV: readFileSync(join(LOCKS, "uv.txt"), "utf8"),
        },
        onDelete: { script: "remove-releases.sh", variables: { LINK: link, FOLDER: args.removed } },
        ...(args.timeoutSeconds !== undefined && { timeoutSeconds: args.timeoutSeconds }),
      },
      { parent: this, dependsOn: [this.packages, requirements, ...(args.owner ? [args.owner] : [])] },
    );

    this.registerOutputs({ release: this.release, link });
  }
}

/** A program of root's that requirements/ has a lock for, in a folder of its own. */
export function toolArgs(
  program: string,
  probe: string,
  { host, python, pythonPackage, indexUrl }: PythonOnHost,
): PythonVenvArgs {
  const folder = `${HOME}/${program}`;
  return {
    ...{ host, python, pythonPackage, probe },
    ...(indexUrl !== undefined && { indexUrl }),
    title: program,
    lock: readFileSync(join(LOCKS, `${program}.txt`), "utf8"),
    folder: `${folder}/releases`,
    release: program,
    link: `${folder}/env`,
    inUseAtOnce: true,
    requirements: `${folder}/requirements.txt`,
    removed: folder,
  };
}
