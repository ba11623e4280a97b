// tests · a worker thread that is busy with engine.node without end: it never returns to its loop. Says when it begins.
import net from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { listenSocket, NativeEngine } from "../../agent/engine/addon.ts";

export type BusyWith = "counts" | "new engines" | "wrong arguments" | "its events";

const begins = (): void => parentPort?.postMessage("begins");
const engine = new NativeEngine(() => {
  begins();
  for (;;);
});
const work: Readonly<Record<Exclude<BusyWith, "its events">, () => void>> = {
  counts: () => engine.stats(),
  "new engines": () => new NativeEngine(() => 0).close(),
  "wrong arguments": () => {
    try {
      engine.retireTunnels(1.5);
    } catch {
      // The engine refuses: that it throws, also while the thread ends, is what the test wants.
    }
  },
};

const busyWith: BusyWith = workerData;
if (busyWith === "its events") {
  const { fd, port } = listenSocket("127.0.0.1", 0);
  engine.setPod(1, 1n, -1);
  engine.addListener(1, 0, fd);
  net.connect({ port, host: "127.0.0.1" });
} else {
  begins();
  for (;;) work[busyWith]();
}
