import * as pulumi from "@pulumi/pulumi";

import { STATE, type Machine } from "./Machine";
import { dependencies } from "./options";
import { Packages } from "./Packages";
import { RemoteScript } from "./RemoteScript";

/** Names what was closed before, and is closed again when it is no longer wanted. */
const OPENED = `${STATE}/opened-in-firewall`;

/** Arguments of {@link BaseSystem}. */
export interface BaseSystemArgs {
  /** The machine. */
  readonly host: Machine;
  /** What the world may reach: firewalld's names of services, or ports as `8448/tcp`. */
  readonly open: readonly string[];
  /** SELinux booleans to set where SELinux is on. Default: none. */
  readonly selinuxBooleans?: readonly string[];
  /** TCP ports that SELinux lets nginx listen on besides the usual ones. Default: none. */
  readonly selinuxWebPorts?: readonly number[];
}

/** What the machine itself is set to: its firewall and, where it is on, SELinux. */
export class BaseSystem extends pulumi.ComponentResource {
  constructor(name: string, args: BaseSystemArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:BaseSystem", name, {}, opts);
    const { host, open, selinuxBooleans = [], selinuxWebPorts = [] } = args;

    const packages = new Packages(
      `${name}-packages`,
      { host, packages: ["firewalld"] },
      { parent: this, dependsOn: dependencies(opts) },
    );
    new RemoteScript(
      `${name}-firewall`,
      {
        host,
        script: "firewall.sh",
        variables: { OPEN: open.join(" "), OPENED },
        onDelete: { script: "firewall-close.sh", variables: { OPENED } },
      },
      { parent: this, dependsOn: packages },
    );
    new RemoteScript(
      `${name}-selinux`,
      {
        host,
        script: "selinux.sh",
        variables: { BOOLEANS: selinuxBooleans.join(" "), WEB_PORTS: selinuxWebPorts.join(" ") },
      },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs();
  }
}
