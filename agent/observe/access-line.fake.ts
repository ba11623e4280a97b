// tests · the line of a connection as text.
import { type AccessLineOptions, type EndedConnection, writeAccessLine } from "./access-log.ts";
import { LineBytes } from "./line-bytes.ts";
import type { Outcome } from "./record.ts";

export function accessLine(ended: EndedConnection, outcome: Outcome, options: AccessLineOptions): string {
  const line = new LineBytes();
  writeAccessLine(line, ended, outcome, options);
  return Buffer.from(line.take()).toString();
}
