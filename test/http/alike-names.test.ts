// Names that rules take for each other are those of which a real WSGI server makes a single variable.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { isAlikeName } from "../../agent/mesh/alike-names.ts";

/** Prints the variable of CGI that wsgiref makes of each line of its input. */
const program = `
import io, sys
from wsgiref.simple_server import WSGIRequestHandler
from email import message_from_string
for name in sys.stdin.read().split("\\n"):
    handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
    handler.headers = message_from_string(name + ": 1\\n\\n")
    handler.server = type("Server", (), {"base_environ": {}})
    handler.request_version, handler.command, handler.path = "HTTP/1.1", "GET", "/"
    handler.client_address = ("127.0.0.1", 1)
    handler.address_string = lambda: "127.0.0.1"
    print(next(key for key, value in handler.get_environ().items() if key.startswith("HTTP_") and value == "1"))
`;

const tokens = [..."abz09!#$%&'*+-.^_`|~"];

test("two names of one variable are alike, for each pair of characters that a name may have", () => {
  const names = tokens.map((sign) => `x${sign}role`);
  const variables = execFileSync("python3", ["-c", program], {
    input: names.join("\n"),
    encoding: "utf8",
  })
    .trim()
    .split("\n");
  assert.equal(variables.length, names.length);
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
