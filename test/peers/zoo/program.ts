// test peers · what a program of the zoo is, and where its parts lie.
import { globSync } from "node:fs";
import path from "node:path";
import { built } from "../support/projects.ts";

export type Where = {
  /** The pod's address. */
  readonly host: string;
  /** Does not exist yet; the server's own. */
  readonly folder: string;
};
export type Server = {
  readonly name: string;
  readonly port: number;
  serve(where: Where): readonly string[];
  /** A line of its output to wait for, where listening is not enough. */
  readonly ready?: (line: string) => boolean;
};
export type Program = {
  readonly name: string;
  readonly server: Server;
  /** From the server's port to that which the client calls. */
  readonly portOffset?: number;
  /** Prints a line for each call, the same ones in each run. */
  call(host: string, port: number, count: number): readonly string[];
};

/** A main class of the Java project. */
export const java = (main: string): readonly string[] => [
  ...["java", "-Xmx384m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"],
  ...["-cp", path.join(built("zoo/java"), "jars/*"), `zoo.${main}`],
];

/** The one file that matches. */
export function fileOf(pattern: string): string {
  const [found] = globSync(pattern);
  if (found === undefined) throw new Error(`there is no ${pattern}`);
  return found;
}

/** `$1`, `$2` … are the words. */
export const shell = (script: string, ...words: readonly (string | number)[]): readonly string[] => [
  ...["sh", "-euc", script, "sh", ...words.map(String)],
];
/** The same for each number, with `$1` host, `$2` port and `$call` the number. */
export const each = (command: string) => (host: string, port: number, count: number) =>
  shell(`call=0; while [ $call -lt "$3" ]; do ${command}; call=$((call + 1)); done`, host, port, count);
