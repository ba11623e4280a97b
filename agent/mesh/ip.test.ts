import assert from "node:assert/strict";
import { BlockList, isIP, SocketAddress } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  bytes16ToIp,
  canonicalIp,
  cidrContains,
  ipToBytes16,
  isIpv6,
  isLoopback,
  isSameFamily,
  parseCidr,
  parseIp,
  writeIp,
} from "./ip.ts";

const octets = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
const ipv4 = octets.map((parts) => parts.join("."));
/** Zeros are frequent, so that "::" occurs everywhere. */
const groups = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
const ipv6 = fc.tuple(groups, fc.boolean()).map(([parts, upper]) => {
  const text = parts.map((part) => part.toString(16)).join(":");
  return upper ? text.toUpperCase() : text;
});
const address = fc.oneof(ipv4, ipv6);

test("every address is read and written back as the system does it", () => {
  fc.assert(
    fc.property(address, (text) => {
      const ours = canonicalIp(text);
      const mapped = /^0:0:0:0:0:ffff:/i.test(text);
      if (mapped) assert.match(ours ?? "", /^\d+\.\d+\.\d+\.\d+$/);
      else assert.equal(ours, systemText(text));
      assert.equal(canonicalIp(ours ?? ""), ours);
      assert.deepEqual(bytes16ToIp(ipToBytes16(text), 0), ours);
    }),
    { numRuns: 3000 },
  );
});

/** inet_ntop writes v4-compatible ::a.b.c.d with dots; RFC 5952 §5 leaves those to well-known prefixes, so we do not. */
function systemText(text: string): string {
  const { address: system } = new SocketAddress({ address: text, family: text.includes(":") ? "ipv6" : "ipv4" });
  return system.includes(":") && system.includes(".") ? new URL(`http://[${system}]`).hostname.slice(1, -1) : system;
}

test("an address is written at its offset in a buffer over whatever was there, and nowhere else", () => {
  fc.assert(
    fc.property(address, fc.nat(8), (text, offset) => {
      const buffer = new Uint8Array(32).fill(0xaa);
      assert.equal(writeIp(text, buffer, offset), true);
      const wanted = new Uint8Array(32).fill(0xaa);
      wanted.set(ipToBytes16(text), offset);
      assert.deepEqual(buffer, wanted);
      assert.equal(bytes16ToIp(buffer, offset), canonicalIp(text));
    }),
    { numRuns: 2000 },
  );
  assert.throws(() => writeIp("10.0.0.1", new Uint8Array(16), 1), RangeError);
  assert.throws(() => bytes16ToIp(new Uint8Array(16), 1), RangeError);
});

test("families", () => {
  assert.deepEqual(["10.0.0.1", "::1", "::ffff:1"].map(isIpv6), [false, true, true]);
  assert.equal(isSameFamily("10.0.0.1", "10.0.0.2"), true);
  assert.equal(isSameFamily("10.0.0.1", "fd00::1"), false);
});

test("what the system does not take for an address is none", () => {
  const noise = fc.string({ unit: fc.constantFrom(..."0123456789abcdefF:.%/[] x"), maxLength: 48 });
  fc.assert(
    fc.property(noise, (text) => {
      // The system accepts a zone; we do not, because it names an interface and not an address.
      const known = isIP(text) !== 0 && !text.includes("%");
      assert.equal(parseIp(text) !== undefined, known, text);
    }),
    { numRuns: 20_000 },
  );
});

test("a mutated address is read exactly when the system reads it", () => {
  const mutated = fc
    .tuple(address, fc.nat(50), fc.constantFrom("", ":", "::", ".", "0", "ffff", "1.2.3.4", "%1", " ", "g"), fc.nat(2))
    .map(([text, at, insert, cut]) => text.slice(0, at) + insert + text.slice(at + cut));
  fc.assert(
    fc.property(mutated, (text) => {
      assert.equal(parseIp(text) !== undefined, isIP(text) !== 0 && !text.includes("%"), text);
    }),
    { numRuns: 20_000 },
  );
});

test("a v4-mapped address is the IPv4 address, however it is written", () => {
  fc.assert(
    fc.property(octets, (parts) => {
      const dotted = parts.join(".");
      const [a = 0, b = 0, c = 0, d = 0] = parts;
      const hex = `::ffff:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
      assert.equal(canonicalIp(`::ffff:${dotted}`), dotted);
      assert.equal(canonicalIp(`::FFFF:${dotted}`), dotted);
      assert.equal(canonicalIp(hex), dotted);
    }),
  );
});

test("RFC 5952: the longest run of zeros is cut, the first of equals, never a single group", () => {
  assert.equal(canonicalIp("2001:DB8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
  assert.equal(canonicalIp("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");
  assert.equal(canonicalIp("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
  assert.equal(canonicalIp("0:0:0:0:0:0:0:0"), "::");
  assert.equal(canonicalIp("1:2:3:4:5:6:7::"), "1:2:3:4:5:6:7:0");
});

test("membership in a block is the system's", () => {
  const block = fc.oneof(
    fc.tuple(ipv4, fc.nat(32)),
    fc.tuple(
      ipv6.filter((text) => !/^0:0:0:0:0:/.test(text)),
      fc.nat(128),
    ),
  );
  const near = fc.tuple(block, fc.oneof(address, fc.nat(127)));
  fc.assert(
    fc.property(near, ([[network, length], other]) => {
      const cidr = parseCidr(`${network}/${length}`);
      assert.ok(cidr);
      const tested = typeof other === "string" ? other : flipped(network, other);
      const text = canonicalIp(tested) ?? "";
      const list = new BlockList();
      list.addSubnet(network, length, network.includes(":") ? "ipv6" : "ipv4");
      const family = text.includes(":") ? "ipv6" : "ipv4";
      // BlockList lets ::/0 hold IPv4 too; see cidrContains for why we do not.
      const sameFamily = network.includes(":") === text.includes(":");
      assert.equal(
        cidrContains(cidr, ipToBytes16(text)),
        sameFamily && list.check(text, family),
        `${text} in ${cidr.text}`,
      );
    }),
    { numRuns: 5000 },
  );
});

/** The address with one bit turned. */
function flipped(text: string, bit: number): string {
  const bytes = ipToBytes16(text);
  const index = text.includes(":") ? bit : 96 + (bit % 32);
  bytes[index >> 3] = (bytes[index >> 3] ?? 0) ^ (0x80 >> (index & 7));
  return bytes16ToIp(bytes, 0);
}

test("a block: host bits are cleared, an address stands for itself, bad lengths are refused", () => {
  assert.deepEqual(parseCidr("10.1.2.3/8")?.bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0]);
  assert.equal(parseCidr("10.1.2.3/8")?.prefixBits, 104);
  assert.equal(parseCidr("10.1.2.3")?.prefixBits, 128);
  assert.equal(parseCidr("fd00::1/48")?.prefixBits, 48);
  assert.equal(parseCidr("fd00::1/48")?.text, "fd00::1/48");
  for (const bad of ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "::/129", "/8", "10.0.0/8", "a/8", ""]) {
    assert.equal(parseCidr(bad), undefined, bad);
  }
});

test("all of IPv6 holds no IPv4 address, all of IPv4 no IPv6 address", () => {
  const [all6, all4, mapped] = [parseCidr("::/0"), parseCidr("0.0.0.0/0"), parseCidr("::ffff:10.0.0.0/104")];
  assert.ok(all6 && all4 && mapped);
  assert.equal(cidrContains(all6, ipToBytes16("10.0.0.1")), false);
  assert.equal(cidrContains(all6, ipToBytes16("fd00::1")), true);
  assert.equal(cidrContains(all4, ipToBytes16("10.0.0.1")), true);
  assert.equal(cidrContains(all4, ipToBytes16("::1")), false);
  assert.equal(cidrContains(mapped, ipToBytes16("10.9.9.9")), true);
});

test("loopback", () => {
  for (const text of ["127.0.0.1", "127.255.0.3", "::1"]) assert.equal(isLoopback(text), true, text);
  for (const text of ["128.0.0.1", "10.0.0.1", "::2", "fd00::127"]) assert.equal(isLoopback(text), false, text);
});
