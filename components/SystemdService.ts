import * as pulumi from "@pulumi/pulumi";

import { DATA, type Machine } from "./Machine";
import { atOnce, dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { RemoteScript } from "./RemoteScript";
import { fingerprint } from "./shell";
import type { SystemUser } from "./SystemUser";
import { renderTemplate } from "./templates";

/** A file that lies ready on the host, and what becomes of it when it is put in use. */
export interface StagedFile {
  /** The file where it lies ready. */
  readonly source: RemoteFile;
  /** Where the service reads it. */
  readonly path: string;
  /** `user:group`. */
  readonly owner: string;
  /** Octal permissions. */
  readonly mode: string;
  /** Whether the running service reads it again on a reload. Default: false, it is restarted. */
  readonly reloadable?: boolean;
}

/** Arguments of {@link SystemdService}. */
export interface SystemdServiceArgs {
  /** The machine. */
  readonly host: Machine;
  /** Name of the unit, without `.service`. */
  readonly unit: string;
  /** What `systemctl status` calls it. */
  readonly description: string;
  /** The account that it runs as; its home is the working directory. */
  readonly user: SystemUser;
  /** Command line of the main process, which tells systemd when it is ready (`Type=notify`). */
  readonly command: string;
  /** What brings that command to the machine, which the unit is checked with. Default: it is there. */
  readonly program?: pulumi.Resource;
  /** Folders that it may write to. */
  readonly writable: readonly string[];
  /** Units on this machine that start before it, when they start at all. Default: none. */
  readonly after?: readonly string[];
  /** What it reads, put in place together. */
  readonly files: readonly StagedFile[];
  /** Link to the release that runs, and the release that it has to name. */
  readonly link: string;
  readonly release: pulumi.Input<string>;
  /** Changes when something else changed that the service reads at its start. */
  readonly restartOn: pulumi.Input<string>;
  /** Shell command, run as the account, without whose success it could not start, and the sentence when it fails: then the running service is left alone. Default: none. */
  readonly needs?: { readonly command: string; readonly otherwise: string };
  /** URL on the machine that answers 200 when the service works. */
  readonly healthUrl: string;
  /** How long a start may take, in seconds. Default: 120. */
  readonly startSeconds?: number;
  /** A server of other origin that this one takes the place of. Default: none. */
  readonly takeOver?: TakeOver;
}

/** How a server of other origin is taken over. */
export interface TakeOver {
  /** Program on the machine that makes it one that can be put back, before it is replaced; it may take hours. */
  readonly program: string;
  /** The unit that it runs as, with `.service`. */
  readonly unit: string;
}

/**
 * A service that is kept running. A change is put in place as a whole and the service is restarted (reloaded, where that is
 * enough); when it does not answer then, what it ran with before is put back and the update fails.
 */
export class SystemdService extends pulumi.ComponentResource {
  /** Changes with every change of what the service runs. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: SystemdServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SystemdService", name, {}, atOnce(opts));
    const { host, unit, user, startSeconds = 120, after = [] } = args;
    const unitFile = `/etc/systemd/system/${unit}.service`;

    const staged: StagedFile = {
      source: new RemoteFile(
        `${name}-unit`,
        {
          host,
          path: `${DATA}/staged/${unit}.service`,
          content: renderTemplate("etc/systemd/system/service", {
            name: unit,
            description: args.description,
            user: user.userName,
            workingDirectory: user.home,
            command: args.command,
            writable: args.writable,
            after,
            partOf: null,
            wantedBy: "multi-user.target",
            startSeconds,
          }),
          check: 'systemd-analyze verify "$file"',
        },
        { parent: this, dependsOn: args.program ?? [] },
      ),
      path: unitFile,
      owner: "root:root",
      mode: "0644",
    };
    const files = [staged, ...args.files];
    this.revision = pulumi
      .all([args.release, args.restartOn, ...files.map(({ source }) => source.content)])
      .apply((parts) => fingerprint(...parts));

    const kept = keptSet(unit);
    new RemoteScript(
      `${name}-activation`,
      {
        host,
        script: "activate-service.sh",
        variables: {
          UNIT: `${unit}.service`,
          FILES: files.map(stagedLine).join("\n"),
          LINK: args.link,
          LINK_TARGET: args.release,
          RESTART_ON: args.restartOn,
          REVISION: this.revision,
          HEALTH_URL: args.healthUrl,
          START_SECONDS: startSeconds,
          KEEP: kept,
          RUN_AS: user.userName,
          NEEDS: args.needs?.command ?? "",
          OTHERWISE: args.needs?.otherwise ?? "",
          TAKE_OVER: args.takeOver?.program ?? "",
          TAKE_OVER_FROM: args.takeOver?.unit ?? "",
        },
        onDelete: {
          script: "remove-service.sh",
          variables: {
            UNIT: `${unit}.service`,
            PATHS: [...files.map(({ path }) => path), kept, `${kept}.unproven`].join("\n"),
          },
        },
        ...(args.takeOver !== undefined && { timeoutSeconds: 86_400 }),
      },
      { parent: this, dependsOn: [...dependencies(opts), ...files.map(({ source }) => source)] },
    );

    this.registerOutputs({ revision: this.revision });
  }
}

/** Folder on the machine for what a unit ran with when it answered last. */
export function keptSet(unit: string): string {
  return `${DATA}/last-good-${unit}`;
}

/** A line of what scripts/activate-service.sh reads. */
function stagedLine({ source, path, owner, mode, reloadable = false }: StagedFile): string {
  return [source.path, path, owner, mode, reloadable ? "reload" : "restart"].join("|");
}
