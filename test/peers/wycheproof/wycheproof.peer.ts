// test peers · Wycheproof's vectors of AES-GCM judge what opens and seals our records: on Debian's OpenSSL with sanitizers, and on
// Node's, which the agents use and which has other code for the same cipher.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const program = path.join(root, "build/fuzz/aes-gcm-vectors");
const vectors = execFileSync(path.join(built("wycheproof"), "bin/vectors"), { encoding: "utf8" });
execFileSync("make", ["-s", "-C", path.join(root, "test/fuzz"), "vectors"]);

const inNode = [process.execPath, "-e", "process.dlopen({ exports: {} }, process.argv[1])", `${program}.node`];
for (const [openssl, [file = "", ...words]] of [
  ["Debian's OpenSSL", [program]],
  ["Node's OpenSSL", inNode],
] as const) {
  const judged = (lines: string): string =>
    execFileSync(file, words, { input: lines, encoding: "utf8", stdio: "pipe" }).trim();

  peerCase("wycheproof", `AES-128-GCM and AES-256-GCM, of ${openssl}`, () => {
    assert.equal(judged(vectors), "AES-128: 40 valid, 27 invalid; AES-256: 39 valid, 27 invalid");
  });
  peerCase("wycheproof", `a vector with the wrong verdict is found, of ${openssl}`, () => {
    for (const [verdict, wrong] of [
      ["valid", "invalid"],
      ["invalid", "valid"],
    ]) {
      const line = vectors.split("\n").find((text) => text.endsWith(` ${verdict}`)) ?? "";
      assert.throws(() => judged(line.replace(/\w+$/, wrong ?? "")), /expected the verdict/);
    }
  });
}
