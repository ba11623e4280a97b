// tests · every way a thread or process may end under an engine with live connections: no crash, no descriptor
// left, and no late answer that reaches another connection (A17).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import test from "node:test";
import { Worker } from "node:worker_threads";
import type { BusyWith } from "./busy-thread.ts";
import { dial, howItEnds, serve } from "./support.ts";
import { until } from "./until.ts";

const descriptors = (): number => readdirSync("/proc/self/fd").length;

async function engineThread(port: number): Promise<{ readonly worker: Worker; readonly port: number }> {
  const worker = new Worker(new URL("./engine-thread.ts", import.meta.url), { workerData: { port } });
  const [listening] = (await once(worker, "message")) as [number];
  return { worker, port: listening };
}

const endings: readonly (readonly [string, (worker: Worker) => void])[] = [
  ["the engine is closed", (worker) => worker.postMessage("close")],
  ["the thread exits", (worker) => worker.postMessage("exit")],
  ["the thread is terminated", (worker) => void worker.terminate()],
];
for (const [how, end] of endings) {
  test(`${how} under live connections`, async () => {
    const app = await serve((socket) => socket.pipe(socket));
    const first = await engineThread(app.port); // What a first thread opens for good is not a leak.
    end(first.worker);
    await once(first.worker, "exit");
    const before = descriptors();
    for (let round = 0; round < 3; round++) {
      const { worker, port } = await engineThread(app.port);
      const sockets = await Promise.all(Array.from({ length: 10 }, () => dial(port)));
      for (const socket of sockets) {
        socket.write("x");
        await once(socket, "data");
      }
      const ended = sockets.map(howItEnds);
      const exited = once(worker, "exit");
      end(worker);
      await exited;
      await Promise.all(ended);
      for (const socket of sockets) socket.destroy();
    }
    for (const socket of app.connections) socket.destroy();
    await until(() => descriptors() <= before + 1, `no more descriptors than ${before} and the folder's own`);
    app.close();
  });
}

for (const [how, code] of [
  ["by process.exit", "process.exit(3)"],
  ["by an exception", "setTimeout(() => { throw new Error('as intended') })"],
  ["with the engine forgotten and collected", "global.gc(); setTimeout(() => process.exit(3), 50)"],
] as const) {
  test(`the process ends ${how}`, () => {
    const script = `
      import net from "node:net";
      import { TestEngine } from ${JSON.stringify(new URL("./test-engine.ts", import.meta.url).href)};
      const under = new TestEngine((event) => event.type === "accepted"
        ? { conn: event.conn, generation: event.generation, type: "relay", to: { address: "127.0.0.1", port: 9 } } : undefined);
      under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
      const port = under.listen(1, "outbound");
      net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {}).on("close", () => { ${code} }).resume();
    `;
    const result = spawnSync(process.execPath, ["--expose-gc", "--input-type=module-typescript", "-e", script], {
      encoding: "utf8",
    });
    assert.equal(result.signal, null, result.stderr);
    assert.equal(result.status, how === "by an exception" ? 1 : 3, result.stderr);
  });
}

// No descriptor of the engine wakes such a thread: it is stopped in the middle of a call. What a call cannot throw then is no reason for
// the process to end.
const busyWith: readonly BusyWith[] = ["counts", "new engines", "wrong arguments", "its events"];
for (const busy of busyWith) {
  test(`the process goes on when a thread is terminated that is busy with ${busy}`, () => {
    const script = `
      import { once } from "node:events";
      import { Worker } from "node:worker_threads";
      for (let round = 0; round < 10; round++) {
        const worker = new Worker(new URL(${JSON.stringify(new URL("./busy-thread.ts", import.meta.url).href)}), {
          workerData: ${JSON.stringify(busy)},
          execArgv: [],
        });
        await once(worker, "message");
        await worker.terminate();
      }
      process.exit(3);
    `;
    const result = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 90_000,
    });
    assert.deepEqual([result.signal, result.status], [null, 3], result.stderr);
  });
}
