// start-up · what the environment of an agent says so that it takes little memory. The image says the same (daemonset/Dockerfile).

export const memoryEnvironment = {
  /**
   * glibc would keep an arena for each of a dozen threads. Two would do for less memory, but cost a tenth more CPU per request. glibc reads
   * this when a process begins.
   */
  MALLOC_ARENA_MAX: "4",
} as const;
