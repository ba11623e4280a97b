// tests · a process with few descriptors and one engine that holds every connection; answers "stats" lines on stdin.
import { createInterface } from "node:readline";
import { TestEngine } from "./test-engine.ts";

const under = new TestEngine(() => undefined);
under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
process.stdout.write(`${under.listen(1, "outbound")}\n`);
createInterface({ input: process.stdin })
  .on("line", () => process.stdout.write(`${JSON.stringify(under.engine.stats())}\n`))
  .on("close", () => under.engine.close());
