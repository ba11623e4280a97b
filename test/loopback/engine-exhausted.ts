// tests · a process with few descriptors and an engine that holds every connection of two pods; answers "stats" lines on stdin.
import { createInterface } from "node:readline";
import { TestEngine } from "./test-engine.ts";

const under = new TestEngine((event) =>
  event.type === "accepted" ? { conn: event.conn, generation: event.generation, type: "serve" } : undefined,
);
under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
under.engine.setPod(2, { netnsCookie: 2n, identity: -1 });
process.stdout.write(`${under.listen(1, "outbound")} ${under.listen(2, "outbound")}\n`);
createInterface({ input: process.stdin })
  .on("line", () => process.stdout.write(`${JSON.stringify(under.engine.stats())}\n`))
  .on("close", () => under.engine.close());
