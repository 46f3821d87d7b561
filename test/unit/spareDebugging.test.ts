import * as pulumi from "@pulumi/pulumi";

import { spareDebugging } from "../../components/spareDebugging";

describe("what Pulumi's SDK does for debugging", () => {
  const inSources = jest.fn((error: Error) => `${error.message}, in the sources`);
  const before = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace") ?? {};
  const { debug } = pulumi.log;
  const stackOf = (error: Error) => error.stack;

  beforeAll(() => {
    Error.prepareStackTrace = inSources;
    spareDebugging();
  });
  afterAll(() => {
    Object.defineProperty(Error, "prepareStackTrace", before);
    Object.assign(pulumi.log, { debug });
  });

  test("an error has its positions in the sources", () => {
    expect(stackOf(new TypeError("wrong"))).toBe("wrong, in the sources");
  });

  test("a promise's stack is taken, and not looked up", () => {
    inSources.mockClear();
    expect(stackOf(new Error())).toMatch(/^Error\n {4}at .*spareDebugging\.test\.ts:\d+:\d+\)?\n/);
    expect(inSources).not.toHaveBeenCalled();
  });

  test("the SDK itself has no messages for debugging any more", async () => {
    const debugged = jest.spyOn(console, "log");
    await pulumi.log.debug("a secret");
    expect(pulumi.log.debug).not.toBe(debug);
    expect(debugged).not.toHaveBeenCalled();
  });
});
