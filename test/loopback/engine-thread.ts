// tests · a worker thread with one engine that relays everything to workerData.port; says its listening port.
import { parentPort, workerData } from "node:worker_threads";
import { TestEngine } from "./test-engine.ts";

const { port } = workerData as { readonly port: number };
const under = new TestEngine((event) =>
  event.type === "accepted"
    ? { conn: event.conn, generation: event.generation, type: "relay", to: { address: "127.0.0.1", port } }
    : undefined,
);
under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
parentPort?.postMessage(under.listen(1, "outbound"));
parentPort?.on("message", (message) => {
  if (message === "close") under.engine.close();
  if (message === "exit") process.exit(0);
  parentPort?.unref();
});
