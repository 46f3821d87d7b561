import type { LabClient } from "../../lab/client/client";
import { Deployment } from "./deployment";

jest.setTimeout(300_000);

describe("a homeserver on a machine whose login user is root", () => {
  let deployment: Deployment;
  let client: LabClient | undefined;

  beforeAll(async () => {
    deployment = await Deployment.prepare("root", { loginUser: "root" });
    await deployment.stack.up();
  });

  afterAll(async () => {
    await client?.close();
    await (deployment as Deployment | undefined)?.remove();
  });

  it("needs no sudo", async () => {
    const commands = (await deployment.stack.exportState()).map(({ inputs }) => inputs.create);
    expect(commands.filter((command) => typeof command === "string" && command.includes("sudo"))).toEqual([]);
  });

  it("serves a client", async () => {
    client = await deployment.client();
    await client.login();
    expect(await client.sendAndReadBack("hello from root's machine")).toMatchObject({
      body: "hello from root's machine",
    });
  });

  it("is left alone by an update without a change", async () => {
    expect((await deployment.stack.up()).changes).toEqual({});
  });
});
