#!/usr/bin/env node
// start-up · `orlop` of a checkout: the programs of agent/main.ts, as JavaScript. In the image `orlop` is that JavaScript itself.
import { upToDateProgram } from "./strip.js";

/** As sysexits.h has it: what is needed could not be made. */
const CANT_CREATE = 73;

let main;
try {
  main = upToDateProgram();
} catch (error) {
  process.stderr.write(`orlop: ${error instanceof Error ? error.message : error}\n`);
  process.exit(CANT_CREATE);
}
await import(main);
