// start-up · what the environment of an agent says so that it takes little memory. The image says the same (daemonset/Dockerfile).
import { fileURLToPath } from "node:url";

export const memoryEnvironment = {
  /** `make build` fills it; without it each thread loads Node's type stripper, which takes 20 MB of resident memory. */
  NODE_COMPILE_CACHE: fileURLToPath(new URL("../../build/compile-cache", import.meta.url)),
  /**
   * glibc would keep an arena for each of a dozen threads. Two would do for less memory, but cost a tenth more CPU per request. glibc reads
   * this when a process begins.
   */
  MALLOC_ARENA_MAX: "4",
} as const;
