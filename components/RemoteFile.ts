import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { LIBEXEC, type Machine, rerun } from "./Machine";
import { afterReady } from "./RemoteScript";
import { quote } from "./shell";

/** Arguments of {@link RemoteFile}. */
export interface RemoteFileArgs {
  /** Where it goes. */
  readonly host: Machine;
  /** Absolute path on the host. Its folder is made when missing. */
  readonly path: string;
  /** The whole text. Make it a secret when it holds one; else a preview shows its changes line by line. */
  readonly content: pulumi.Input<string>;
  /** `user:group`. Default: `root:root`. */
  readonly owner?: string;
  /** Octal permissions. Default: `0644`. */
  readonly mode?: string;
  /** Shell command that finds the new file at `$file` and fails when it is not fit for use: then the old one stays. Default: none. */
  readonly check?: pulumi.Input<string>;
  /** Shell command that judges the file in its own place, for what can be checked nowhere else. When it fails, the old one is put back. Default: none. */
  readonly checkInPlace?: pulumi.Input<string>;
  /** Keep the file when the resource goes. Default: false. */
  readonly keep?: boolean;
}

/** A file on the host: written beside its target, checked, then renamed over it. */
export class RemoteFile extends remote.Command {
  readonly name: string;
  /** Absolute path on the host. */
  readonly path: string;
  /** The text, for what has to notice its changes. */
  readonly content: pulumi.Output<string>;

  constructor(name: string, args: RemoteFileArgs, opts: pulumi.CustomResourceOptions) {
    const { host, path, owner = "root:root", mode = "0644" } = args;

    super(
      name,
      {
        connection: host.connection,
        create: pulumi
          .all([args.check ?? "", args.checkInPlace ?? ""])
          .apply(
            (checks) =>
              `${host.asRoot}${LIBEXEC}/install-file ${[owner, mode, path, ...withoutEmptyEnd(checks)].map(quote).join(" ")}${rerun(host, [name])}`,
          ),
        stdin: args.content,
        ...(args.keep !== true && { delete: `${host.asRoot}rm -f ${quote(path)}` }),
        logging: remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      { ...opts, dependsOn: afterReady(host, opts) },
    );
    this.name = name;
    this.path = path;
    this.content = pulumi.output(args.content);
  }
}

function withoutEmptyEnd(words: string[]): string[] {
  return words.slice(0, words.findLastIndex((word) => word !== "") + 1);
}
