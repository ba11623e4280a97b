// tests · what the engine's C++ reads in HTTP/1, asked in a process of its own that has AddressSanitizer and UBSan.
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const letters = {
  request: "q",
  response: "p",
  "response to HEAD": "h",
  "end of head": "e",
  "chunk line": "c",
  "end of chunk": "d",
  trailers: "t",
  body: "b",
  "written head": "w",
  "written chunk": "x",
  reply: "r",
  talk: "k",
} as const;

export type Question = { readonly kind: keyof typeof letters; readonly bytes: Buffer };

/** Builds the program; once for each file of tests. Files may run at the same time, so they take turns. */
export function buildReader(): void {
  const make = ["make", "-s", "-C", `${root}/test/fuzz`, "http1"];
  execFileSync("flock", [`${root}/build/http1-reader.lock`, ...make], { stdio: ["ignore", "ignore", "inherit"] });
}

/** A line for each question. Throws with the sanitizer's report when the program did not live to the end. */
export function askReader(questions: readonly Question[]): string[] {
  const input = Buffer.concat(
    questions.flatMap(({ kind, bytes }) => {
      const head = Buffer.alloc(5);
      head.write(letters[kind], "latin1");
      head.writeUInt32LE(bytes.length, 1);
      return [head, bytes];
    }),
  );
  const done = spawnSync(`${root}/build/fuzz/http1-reader`, { input, maxBuffer: 1 << 28 });
  if (done.error) throw done.error;
  if (done.status !== 0) throw new Error(`http1-reader ended with ${done.status ?? done.signal}\n${done.stderr}`);
  const lines = done.stdout.toString("latin1").split("\n").slice(0, -1);
  if (lines.length !== questions.length) throw new Error(`${lines.length} answers to ${questions.length} questions`);
  return lines;
}
