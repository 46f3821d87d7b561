import * as pulumi from "@pulumi/pulumi";

// As every program that reads its settings.
const secret = new pulumi.Config().requireSecret("secret");

export = () => ({ secret });
