/* What is said of a machine that nobody can log in to. */
import { createServer, type AddressInfo, type Server } from "node:net";

import { reachProblem } from "../../components/reach";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server that says this, and nothing when that is undefined. */
async function says(words: string | undefined): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    if (words !== undefined) socket.write(words);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function closedPort(): Promise<number> {
  const port = await says(undefined);
  await new Promise((resolve) => servers.pop()?.close(resolve));
  return port;
}

it("is nothing, where an SSH server answers", async () => {
  expect(await reachProblem({ address: "127.0.0.1", port: await says("SSH-2.0-OpenSSH_8.0\r\n") })).toBeUndefined();
});

it("names the settings and what to look at, where nothing answers", async () => {
  const port = await says(undefined);
  expect(await reachProblem({ address: "127.0.0.1", port }, 100)).toBe(
    `nothing answers at 127.0.0.1, port ${port} (host.address, host.port): see that the machine is on, that this is its address, and that no firewall, its own or its provider's, drops SSH from here`,
  );
});

it("tells a closed port, a name that DNS does not know, and another server apart", async () => {
  const port = await closedPort();
  expect(await reachProblem({ address: "127.0.0.1", port })).toBe(
    `the machine refuses connections to 127.0.0.1, port ${port} (host.address, host.port): see that it is the right one, and that sshd runs there and listens on that port`,
  );
  expect(await reachProblem({ address: "nowhere.invalid", port: 22 })).toBe(
    "DNS knows no machine of the name nowhere.invalid (host.address): see that it is written right, or set host.address to an IP address",
  );
  const other = await says("220 mail.example.com ESMTP\r\n");
  expect(await reachProblem({ address: "127.0.0.1", port: other })).toBe(
    `what answers at 127.0.0.1, port ${other} (host.address, host.port) is no SSH server: see which port sshd has`,
  );
});
