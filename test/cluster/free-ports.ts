// test cluster · ports of the machine's loopback that are free at this moment, for programs that listen at them a moment later: below those
// that the kernel chooses for connections (ip(7), ip_local_port_range), and none is given to two.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

const [FIRST, LAST] = [20_000, 29_999];
const given = new Set<number>();

export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = randomInt(FIRST, LAST + 1);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false; // Somebody listens there: that is the answer.
  }
  server.close();
  await once(server, "close");
  return true;
}
