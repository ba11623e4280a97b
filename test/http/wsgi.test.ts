// What a real WSGI server makes of names of headers and of paths, beside what rules take for the same.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { canonicalPath, decodedPath } from "../../agent/l7/canonical.ts";
import { isAlikeName } from "../../agent/mesh/alike-names.ts";

/** Of each line of its input, a header's name and a path: the variable of the one and the other as the application gets it, in hexadecimal digits. */
const program = `
import sys
from wsgiref.simple_server import WSGIRequestHandler
from email import message_from_string
for line in sys.stdin.read().split("\\n"):
    name, path = line.split(" ")
    handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
    handler.headers = message_from_string(name + ": 1\\n\\n")
    handler.server = type("Server", (), {"base_environ": {}})
    handler.request_version, handler.command, handler.path = "HTTP/1.1", "GET", path
    handler.client_address = ("127.0.0.1", 1)
    handler.address_string = lambda: "127.0.0.1"
    environ = handler.get_environ()
    variable = next(key for key, value in environ.items() if key.startswith("HTTP_") and value == "1")
    print(variable, environ["PATH_INFO"].encode("latin-1").hex())
`;

/** For each header's name and path, what the application gets. */
function served(asked: readonly (readonly [name: string, path: string])[]): readonly (readonly [string, string])[] {
  const input = asked.map((both) => both.join(" ")).join("\n");
  const lines = execFileSync("python3", ["-c", program], { input, encoding: "utf8" }).trim().split("\n");
  assert.equal(lines.length, asked.length);
  return lines.map((line) => {
    const [variable = "", hex = ""] = line.split(" ");
    return [variable, Buffer.from(hex, "hex").toString("latin1")];
  });
}

const tokens = [..."abz09!#$%&'*+-.^_`|~"];

test("two names of one variable are alike, for each pair of characters that a name may have", () => {
  const names = tokens.map((sign) => `x${sign}role`);
  const variables = served(names.map((name) => [name, "/"])).map(([variable]) => variable);
  const [first, second] = ["x-role", "x_role"].map((name) => variables[names.indexOf(name)]);
  assert.equal(first, "HTTP_X_ROLE");
  assert.equal(second, first);
  for (const [a, name] of names.entries())
    for (const [b, other] of names.entries())
      assert.ok(variables[a] !== variables[b] || isAlikeName(name, other), `${name} and ${other}`);
  const isLetter = (sign: string): boolean => /[a-z0-9]/.test(sign);
  for (const sign of tokens.filter(isLetter))
    for (const other of tokens.filter((each) => each !== sign)) assert.ok(!isAlikeName(sign, other), `${sign}${other}`);
});

test("a path of which each byte is escaped, or as it is, is the same to the application and to a DENY, wherever it is clear", () => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const escaped = bytes.map((byte) => `/a%${byte.toString(16).padStart(2, "0")}z`);
  const raw = bytes.map((byte) => `/a${String.fromCharCode(byte)}z`).filter((path) => /^[!-~]+$/.test(path));
  const clear = [...escaped, ...raw].filter((path) => canonicalPath(path).ambiguity === null);
  assert.ok(clear.length > 200, `${clear.length}`);
  for (const [at, [, path]] of served(clear.map((each) => ["x", each])).entries()) {
    // Behind %25 another escape may begin for who decodes twice; such a path is ambiguous where two digits follow.
    if (clear[at] !== "/a%25z") assert.equal(decodedPath(clear[at] ?? ""), path, clear[at]);
  }
});
