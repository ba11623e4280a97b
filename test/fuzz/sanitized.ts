// tests · `node --import` this: both addons are then those built with sanitizers (test/fuzz/Makefile), in every thread.
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

const ours = ["engine.node", "keeper.node"];
const load = process.dlopen;
process.dlopen = (module, file, ...rest): void => {
  const name = basename(file);
  const sanitized = new URL(`../../build/sanitized/${name}`, import.meta.url);
  load.call(process, module, ours.includes(name) ? fileURLToPath(sanitized) : file, ...rest);
};
