// demo · `make demo`: a mesh on this machine, shown and checked step by step; it needs no network.
import { demo } from "./demo.ts";

process.exitCode = await demo(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
