// test cluster · ports of the machine's loopback that are free at this moment.
import { createServer } from "node:net";

/** Each differs from the others: all are held until the last is known. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  const ports: number[] = [];
  for (const server of servers) {
    if (!server.listening) await new Promise((resolve) => server.once("listening", resolve));
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("no port");
    ports.push(bound.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}
