// main thread · builder · the writer of access-log lines.
import { LineWriter, openSink } from "../observe/line-writer.ts";
import type { Built } from "./built.ts";

/**
 * @param target "stdout", "off" (then there is no writer), or a path
 * @throws Error when the file cannot be opened
 */
export function openAccessLog(target: string): Built<LineWriter | null> {
  if (target === "off") return { thing: null, close: () => undefined };
  const { sink, close } = openSink(target === "stdout" ? "stdout" : { path: target });
  const lines = new LineWriter({ sink });
  return {
    thing: lines,
    close: async () => {
      await lines.flush();
      close();
    },
  };
}
