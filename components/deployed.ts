import * as pulumi from "@pulumi/pulumi";

/** What this stack's last update put out, which a preview can read, too. */
export class Deployed {
  private readonly reference = new pulumi.StackReference(
    `${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`,
  );

  /** An output; undefined where there is none, or where nothing was deployed yet. */
  async output(name: string): Promise<unknown> {
    return (await this.reference.getOutputDetails(name)).value as unknown;
  }
}
