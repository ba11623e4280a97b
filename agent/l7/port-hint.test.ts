import assert from "node:assert/strict";
import { test } from "node:test";
import { type PortHint, portHint } from "./port-hint.ts";

test("appProtocol decides, then the name up to its first hyphen", () => {
  const cases: readonly (readonly [name: string, appProtocol: string, PortHint])[] = [
    ["", "", "undeclared"],
    ["web", "", "undeclared"],
    ["http", "", "http1"],
    ["HTTP-api", "", "http1"],
    ["httpapi", "", "undeclared"],
    ["grpc-web-x", "", "http1"],
    ["grpc-web", "", "http1"],
    ["grpc-api", "", "http2"],
    ["h2c", "", "http2"],
    ["tcp-db", "", "opaque"],
    ["https", "", "opaque"],
    ["http", "tcp", "opaque"],
    ["tcp", "kubernetes.io/h2c", "http2"],
    ["tcp", "kubernetes.io/ws", "http1"],
    ["http", "kubernetes.io/wss", "opaque"],
    ["http", "example.com/own", "undeclared"],
    ["", "GRPC", "http2"],
  ];
  for (const [name, appProtocol, hint] of cases)
    assert.equal(portHint({ name, appProtocol }), hint, name + appProtocol);
});
