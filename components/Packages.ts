import * as pulumi from "@pulumi/pulumi";

import type { Machine } from "./Machine";
import { RemoteScript } from "./RemoteScript";

/** Arguments of {@link Packages}. */
export interface PackagesArgs {
  /** Where they are installed. */
  readonly host: Machine;
  /** dnf's names. What is there already stays as it is. */
  readonly packages: pulumi.Input<string>[];
  /** dnf module and stream that they come from, as `nginx:1.24`. Default: no module. */
  readonly module?: pulumi.Input<string>;
  /** Name of a dnf group to install, too. Default: none. */
  readonly group?: string;
}

/** Packages of the system. They stay on `pulumi destroy`: something else may need them by then. */
export class Packages extends RemoteScript {
  constructor(name: string, args: PackagesArgs, opts: pulumi.CustomResourceOptions) {
    const { host, packages, module = "", group = "" } = args;
    const variables = {
      MODULES: module,
      PACKAGES: pulumi.all(packages).apply((names) => names.join(" ")),
      GROUPS_WANTED: group,
    };
    super(name, { host, script: "packages.sh", variables }, opts);
  }
}
