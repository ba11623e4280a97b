// test peers · an application that connects, waits and aborts: node aborter.ts HOST PORT COUNT WAIT_MS. Prints how many
// came up.
import net from "node:net";

const [host = "", port = "0", count = "0", wait = "0"] = process.argv.slice(2);
/** Enough at once that a CONNECT and its RST_STREAM reach a peer together. */
const PARALLEL = 100;
const DEADLINE_MS = 5_000;

/** Connected, and reset (SO_LINGER 0) after the wait; false when it did not come up. */
function abortOne(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) });
    const settle = (up: boolean): void => {
      clearTimeout(timer);
      socket.resetAndDestroy();
      resolve(up);
    };
    const timer = setTimeout(() => settle(false), DEADLINE_MS);
    socket.on("connect", () => (wait === "0" ? settle(true) : setTimeout(settle, Number(wait), true)));
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
