// any thread · what `orlop version` says: the package's own number.
import { readFileSync } from "node:fs";

const text: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

export const version =
  typeof text === "object" && text !== null && "version" in text && typeof text.version === "string"
    ? text.version
    : "unknown";
