import type * as pulumi from "@pulumi/pulumi";

/** `dependsOn` as a list, whatever form the caller gave it. */
export function dependencies(opts: pulumi.ResourceOptions | undefined): pulumi.Input<pulumi.Resource>[] {
  const { dependsOn } = opts ?? {};
  if (dependsOn === undefined) return [];
  return (Array.isArray(dependsOn) ? dependsOn : [dependsOn]) as pulumi.Input<pulumi.Resource>[];
}

/** The options that a component registers itself with: at once, since only the resources in it have to wait for what it depends on. */
export function atOnce(opts: pulumi.ComponentResourceOptions | undefined): pulumi.ComponentResourceOptions {
  return { ...opts, dependsOn: [] };
}
