// test peers · an application that connects and aborts: node aborter.ts HOST PORT COUNT. Prints how many came up.
import net from "node:net";

const [host = "", port = "0", count = "0"] = process.argv.slice(2);
const PARALLEL = 8;
const DEADLINE_MS = 5_000;

/** Connected and reset at once (SO_LINGER 0); false when it did not come up. */
function abortOne(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) });
    const settle = (up: boolean): void => {
      clearTimeout(timer);
      socket.resetAndDestroy();
      resolve(up);
    };
    const timer = setTimeout(() => settle(false), DEADLINE_MS);
    socket.on("connect", () => settle(true));
    socket.on("error", () => settle(false));
  });
}

let left = Number(count);
let up = 0;
const caller = async (): Promise<void> => {
  while (left > 0) {
    left -= 1;
    if (await abortOne()) up += 1;
  }
};
await Promise.all(Array.from({ length: PARALLEL }, caller));
process.stdout.write(`${up}\n`);
