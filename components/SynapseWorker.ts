import * as pulumi from "@pulumi/pulumi";

import { type Machine, stampsOf, STATE } from "./Machine";
import { dependencies } from "./options";
import { RemoteFile } from "./RemoteFile";
import { quote } from "./shell";
import { SystemdUnit } from "./SystemdUnit";
import type { SystemUser } from "./SystemUser";
import { renderTemplate } from "./templates";
import type { Worker } from "./workers";

/** Arguments of {@link SynapseWorker}. */
export interface SynapseWorkerArgs {
  /** The machine that Synapse runs on. */
  readonly host: Machine;
  /** The account that Synapse runs as. */
  readonly user: SystemUser;
  /** Which one, where it listens and what it serves there. */
  readonly worker: Worker;
  /** Unit of the main process, without `.service`, with which the worker starts, stops and reloads. */
  readonly mainUnit: string;
  /** Link to the release in use. */
  readonly link: string;
  /** Path of homeserver.yaml. */
  readonly config: string;
}

/**
 * A worker process of Synapse. It is part of the main process's unit: what restarts that (a setting, another release, and the
 * way back) restarts the worker after it, with the same release and the same homeserver.yaml.
 */
export class SynapseWorker extends pulumi.ComponentResource {
  /** Its unit, without `.service`. */
  readonly unit: string;
  /** Changes with every change of its own files. */
  readonly revision: pulumi.Output<string>;

  constructor(name: string, args: SynapseWorkerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:SynapseWorker", name, {}, opts);
    const { host, user, worker, mainUnit, link, config } = args;
    this.unit = `${mainUnit}-${worker.name}`;

    const file = new RemoteFile(
      `${name}-config`,
      {
        host,
        path: `${STATE}/workers/${worker.name}.yaml`,
        content: renderTemplate("etc/matrix-homeserver/worker.yaml", {
          name: worker.name,
          port: worker.port,
          resources: worker.resources.join(", "),
          folder: user.home,
          servesMedia: worker.kind === "media",
        }),
        check: `runuser -u ${quote(user.userName)} -- ${link}/bin/python -m synapse.config -c ${config} -c "$file"`,
      },
      { parent: this, dependsOn: dependencies(opts) },
    );
    const service = new SystemdUnit(
      `${name}-service`,
      {
        host,
        unit: this.unit,
        description: `Worker ${worker.name} of the Matrix homeserver`,
        user: user.userName,
        workingDirectory: user.home,
        command: `${link}/bin/python -m synapse.app.generic_worker --config-path=${config} --config-path=${file.path}`,
        writable: worker.kind === "media" ? [`${user.home}/media_store`] : [],
        after: [`${mainUnit}.service`],
        partOf: `${mainUnit}.service`,
        reads: file.content.apply((text) => [text, ...stampsOf(host, [file.name])].join("\n")),
        probe: `[[ $(curl -s --max-time 5 http://127.0.0.1:${worker.port}/health) == OK ]]`,
      },
      { parent: this, dependsOn: file },
    );
    this.revision = service.revision;

    this.registerOutputs({ unit: this.unit, revision: this.revision });
  }
}
