/* The local cloudinit SDK asks for the official package's function, with the official version, and for nothing that the provider does not know. */
import * as cloudinit from "@pulumi/cloudinit";
import * as pulumi from "@pulumi/pulumi";
import { version } from "../../sdks/cloudinit/package.json";

const calls: pulumi.runtime.MockCallArgs[] = [];

beforeAll(async () => {
  await pulumi.runtime.setMocks({
    newResource: ({ inputs, name }) => ({ id: name, state: inputs as object }),
    call: (args) => {
      calls.push(args);
      return { ...(args.inputs as object), rendered: "user-data", id: "1" };
    },
  });
});

beforeEach(() => {
  calls.length = 0;
});

const parts = [{ content: "#cloud-config\n", contentType: "text/cloud-config" }];
const token = "cloudinit:index/getConfig:getConfig";

it("calls the function with plain values", async () => {
  const { rendered } = await cloudinit.getConfig({ gzip: false, base64Encode: false, parts });
  expect(rendered).toBe("user-data");
  expect(calls).toMatchObject([{ token, inputs: { gzip: false, base64Encode: false, parts } }]);
});

it("calls the function with outputs, and keeps a secret", async () => {
  const content = pulumi.secret("#cloud-config\n");
  const { rendered } = cloudinit.getConfigOutput({ parts: [{ content, contentType: "text/cloud-config" }] });
  expect(await value(rendered)).toBe("user-data");
  expect(await pulumi.isSecret(rendered)).toBe(true);
  expect(calls).toMatchObject([{ token, inputs: { parts } }]);
});

it("drops what the provider does not know", async () => {
  await cloudinit.getConfig({ parts, other: 1 } as cloudinit.GetConfigArgs);
  expect(calls[0]?.inputs).not.toHaveProperty("other");
});

it("names the version whose answers were recorded", () => {
  expect(version).toBe("1.6.1");
});

function value<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
