import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { endpointText } from "../mesh/endpoint.ts";
import { canonicalIp } from "../mesh/ip.ts";
import { parseAuthority } from "./authority.ts";

test("an address and port, a name and port, and what two readers could read differently", () => {
  assert.deepEqual(parseAuthority("10.0.0.2:8080"), { kind: "address", address: "10.0.0.2", port: 8080 });
  assert.deepEqual(parseAuthority("[fd00::2]:80"), { kind: "address", address: "fd00::2", port: 80 });
  assert.deepEqual(parseAuthority("api.shop.svc.cluster.local:80"), { kind: "hostname" });
  for (const text of [
    ...["", "10.0.0.2", ":80", "10.0.0.2:0", "10.0.0.2:080", "10.0.0.2:65536", "10.0.0.2:8080 ", " 10.0.0.2:8080"],
    ...["010.0.0.2:80", "10.0.0:80", "0x7f.1:80", "1.2.3:80", "2130706433:80", "fd00::2:80", "[10.0.0.2]:80"],
    ...["[fd00::2%eth0]:80", "user@10.0.0.2:80", "10.0.0.2:80/path", "API.shop:80", "a..b:80", "-a.shop:80"],
    ...[`${"a".repeat(64)}:80`, `${"a.".repeat(130)}a:80`, "10.0.0.2:80\n"],
  ]) {
    assert.deepEqual(parseAuthority(text), { kind: "invalid" }, JSON.stringify(text));
  }
});

test("what we write we read; anything else never throws", () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => canonicalIp(text) ?? "10.0.0.1");
  fc.assert(
    fc.property(address, fc.integer({ min: 1, max: 65_535 }), (ip, port) => {
      const plain = ip.includes(":") && ip.includes(".") ? "fd00::1" : ip;
      assert.deepEqual(parseAuthority(endpointText({ address: plain, port })), {
        kind: "address",
        address: plain,
        port,
      });
    }),
    { verbose: true },
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      assert.ok(["address", "hostname", "invalid"].includes(parseAuthority(text).kind));
    }),
    { verbose: true },
  );
});
