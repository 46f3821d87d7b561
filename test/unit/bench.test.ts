import { interleaved, median } from "../../bench/lib";

describe("the middle of several numbers", () => {
  it.each([
    [[3], 3],
    [[9, 1, 4], 4],
    [[8, 1, 2, 100], 5],
    [[10, 9, 100], 10],
  ])("of %p is %p", (numbers, middle) => {
    expect(median(numbers)).toBe(middle);
  });
});

test("contenders take turns, and each is the first one once", async () => {
  const log = jest.spyOn(console, "error").mockImplementation(() => undefined);
  const order: string[] = [];
  const contender = (name: string) => (round: number) => {
    order.push(`${name}${round}`);
    return Promise.resolve(round);
  };

  const rounds = await interleaved({ a: contender("a"), b: contender("b"), c: contender("c") }, 3);

  log.mockRestore();
  expect(order).toEqual(["a1", "b1", "c1", "b2", "c2", "a2", "c3", "a3", "b3"]);
  expect(rounds).toEqual({ a: [1, 2, 3], b: [1, 2, 3], c: [1, 2, 3] });
});
