import * as pulumi from "@pulumi/pulumi";

import { STATE, type Machine } from "./Host";
import { dependencies } from "./options";
import { RemoteScript } from "./RemoteScript";

/** Which services were closed before, and are closed again by `pulumi destroy`. */
const OPENED_SERVICES = `${STATE}/opened-services`;

/** Arguments of {@link BaseSystem}. */
export interface BaseSystemArgs {
  /** The machine. */
  readonly host: Machine;
  /** firewalld's names of the services that the world may reach. */
  readonly openServices: readonly string[];
  /** SELinux booleans to set where SELinux is on. Default: none. */
  readonly selinuxBooleans?: readonly string[];
}

/** What the machine itself is set to: its firewall and, where it is on, SELinux. */
export class BaseSystem extends pulumi.ComponentResource {
  constructor(name: string, args: BaseSystemArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:BaseSystem", name, {}, opts);
    const { host, openServices, selinuxBooleans = [] } = args;

    const packages = new RemoteScript(
      `${name}-packages`,
      { host, script: "packages.sh", variables: { MODULES: "", PACKAGES: "firewalld", GROUPS_WANTED: "" } },
      { parent: this, dependsOn: dependencies(opts) },
    );
    new RemoteScript(
      `${name}-firewall`,
      {
        host,
        script: "firewall.sh",
        variables: { SERVICES: openServices.join(" "), OPENED: OPENED_SERVICES },
        onDelete: { script: "firewall-close.sh", variables: { OPENED: OPENED_SERVICES } },
      },
      { parent: this, dependsOn: packages },
    );
    new RemoteScript(
      `${name}-selinux`,
      { host, script: "selinux-booleans.sh", variables: { BOOLEANS: selinuxBooleans.join(" ") } },
      { parent: this, dependsOn: dependencies(opts) },
    );

    this.registerOutputs();
  }
}
