// Build time · the agent as JavaScript, for the image. Node can run TypeScript, but then each thread loads a type stripper, which is
// WebAssembly: 20 MB of resident memory, and V8 has ended processes whose threads did so at the same time (nodejs/node#64500). The compile
// cache spares the stripper only on processors with the features of the processor that has filled it, and an image runs on many.
//   node .ci/strip.ts TO      writes below TO what lies below agent/, but for tests and fakes; lines and columns stay as they are
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const from = fileURLToPath(new URL("../agent", import.meta.url));
const [, , to = ""] = process.argv;
if (to === "") throw new Error("usage: node .ci/strip.ts TO");

/** What a module imports, and what a thread is started from. */
const named = /(["'])(\.{1,2}\/[^"'\n]+)\.ts\1/g;

rmSync(to, { recursive: true, force: true });
for (const file of readdirSync(from, { recursive: true, encoding: "utf8" })) {
  if (!file.endsWith(".ts") || /\.(test|fake)\.ts$/.test(file)) continue;
  const source = join(from, file);
  const target = join(to, file.replace(/\.ts$/, ".js"));
  mkdirSync(dirname(target), { recursive: true });
  const program = stripTypeScriptTypes(readFileSync(source, "utf8"), { mode: "strip" });
  writeFileSync(target, program.replace(named, "$1$2.js$1"));
  chmodSync(target, statSync(source).mode & 0o777);
}
