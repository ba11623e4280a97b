// test support · certificates that no honest authority issues, built byte by byte and signed for real, so that chains verify.
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** One DER element. */
export function der(tag: number, ...content: (Uint8Array | string)[]): Buffer {
  const body = Buffer.concat(content.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const bytes: number[] = [];
  for (let left = body.length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), body]);
}

const sequence = (...content: Uint8Array[]): Buffer => der(0x30, ...content);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const ECDSA_SHA256 = sequence(oid("2a8648ce3d040302"));
const commonName = (name: string): Buffer => sequence(der(0x31, sequence(oid("550403"), der(0x0c, name))));

export const extension = (id: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));

/** GeneralNames: `uri`, `dns`, … as they stand in a subjectAltName. */
export const uri = (text: string): Buffer => der(0x86, text);
export const dns = (text: string): Buffer => der(0x82, text);
export const email = (text: string): Buffer => der(0x81, text);
export const ip = (...bytes: number[]): Buffer => der(0x87, Buffer.from(bytes));
/** otherName with a UTF8String, as in CVE-2025-66220. */
export const otherName = (text: string): Buffer => der(0xa0, oid("2b060104018237140203"), der(0xa0, der(0x0c, text)));
export const san = (...names: Uint8Array[]): Buffer => extension("551d11", true, sequence(...names));

export const basicConstraints = (ca: boolean): Buffer =>
  extension("551d13", true, sequence(...(ca ? [der(0x01, Buffer.from([0xff]))] : [])));
/** bits: 0x80 digitalSignature, 0x04 keyCertSign, 0x02 cRLSign. */
export const keyUsage = (bits: number): Buffer => extension("551d0f", true, der(0x03, Buffer.from([1, bits])));
export const extendedUsage = (...ids: string[]): Buffer => extension("551d25", false, sequence(...ids.map(oid)));
export const SERVER_AUTH = "2b06010505070301";
export const CLIENT_AUTH = "2b06010505070302";
export const CODE_SIGNING = "2b06010505070303";

function time(at: Date): Buffer {
  return der(0x18, at.toISOString().replace(/[-:T]/g, "").slice(0, 14), "Z");
}

export type HostileOptions = {
  readonly extensions: readonly Uint8Array[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
};
export type Made = { readonly der: Buffer; readonly pem: string; readonly pkcs8: Buffer };

/** An authority that signs whatever it is given. */
export class HostileAuthority {
  readonly #key: KeyObject;
  readonly #name = commonName(`hostile root ${randomBytes(4).toString("hex")}`);
  readonly root: Made;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    this.root = this.#make(this.#name, publicKey, privateKey, { extensions: [basicConstraints(true), keyUsage(0x06)] });
  }

  /** A leaf with exactly these extensions. */
  leaf(options: HostileOptions): Made {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return this.#make(sequence(), publicKey, privateKey, options);
  }

  /** A leaf that is honest in all but its names. */
  named(...names: Uint8Array[]): Made {
    return this.leaf({
      extensions: [
        basicConstraints(false),
        keyUsage(0x80),
        extendedUsage(CLIENT_AUTH, SERVER_AUTH),
        ...(names.length > 0 ? [san(...names)] : []),
      ],
    });
  }

  #make(subject: Buffer, publicKey: KeyObject, privateKey: KeyObject, options: HostileOptions): Made {
    const now = Date.now();
    const tbs = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.from([0x40]), randomBytes(15)),
      ECDSA_SHA256,
      this.#name,
      sequence(time(options.notBefore ?? new Date(now - 60_000)), time(options.notAfter ?? new Date(now + 3_600_000))),
      subject,
      publicKey.export({ type: "spki", format: "der" }),
      ...(options.extensions.length > 0 ? [der(0xa3, sequence(...options.extensions))] : []),
    );
    const signature = sign("sha256", tbs, this.#key);
    const bytes = sequence(tbs, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature));
    return { der: bytes, pem: pem(bytes), pkcs8: privateKey.export({ type: "pkcs8", format: "der" }) };
  }
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** Every way a SAN can lie, with the reason each must be refused for. Names say what is hostile about it. */
export function hostileSans(): readonly {
  readonly name: string;
  readonly names: readonly Uint8Array[];
  readonly reject: string;
}[] {
  const good = "spiffe://cluster.local/ns/shop/sa/web";
  const named = (name: string, text: string, reject = "not-canonical") => ({ name, names: [uri(text)], reject });
  return [
    {
      name: "two URI SANs, evil first",
      names: [uri("spiffe://evil.example/ns/shop/sa/web"), uri(good)],
      reject: "several-uri-sans",
    },
    {
      name: "two URI SANs, evil second",
      names: [uri(good), uri("spiffe://evil.example/ns/shop/sa/web")],
      reject: "several-uri-sans",
    },
    { name: "the same URI SAN twice", names: [uri(good), uri(good)], reject: "several-uri-sans" },
    {
      name: "a URI SAN that is no SPIFFE id beside a good one",
      names: [uri("https://example.com"), uri(good)],
      reject: "several-uri-sans",
    },
    { name: "no SAN at all", names: [], reject: "no-uri-san" },
    { name: "DNS only", names: [dns("web.shop.svc.cluster.local")], reject: "no-uri-san" },
    { name: "the id as a DNS name", names: [dns(good)], reject: "no-uri-san" },
    { name: "otherName beside a good URI", names: [uri(good), otherName("x")], reject: "odd-san" },
    {
      name: "otherName with NUL",
      names: [otherName("spiffe://cluster.local\u0000evil"), uri(good)],
      reject: "odd-san",
    },
    named("NUL within", "spiffe://cluster.local/ns/shop/sa/web\u0000.evil", "odd-san"),
    named("NUL in the trust domain", "spiffe://cluster.local\u0000.evil/ns/shop/sa/web", "odd-san"),
    named("line end", `${good}\n`, "odd-san"),
    named("space", "spiffe://cluster.local/ns/shop/sa/we b", "odd-san"),
    named("8-bit byte", "spiffe://cluster.local/ns/shop/sa/w\u00e9b", "odd-san"),
    { name: "NUL in a DNS name beside a good URI", names: [uri(good), dns("a\u0000b")], reject: "odd-san" },
    named("empty", ""),
    named("upper-case scheme", good.replace("spiffe", "SPIFFE")),
    named("upper-case trust domain", good.replace("cluster", "Cluster")),
    named("upper-case namespace", good.replace("shop", "Shop")),
    named("upper-case path words", good.replace("/ns/", "/NS/")),
    named("%2f", "spiffe://cluster.local/ns/shop%2fsa/web"),
    named("%2e", "spiffe://cluster%2elocal/ns/shop/sa/web"),
    named("double slash", "spiffe://cluster.local//ns/shop/sa/web"),
    named("dot segments", "spiffe://cluster.local/ns/shop/sa/../sa/web"),
    named("trailing slash", `${good}/`),
    named("query", `${good}?a`),
    named("fragment", `${good}#a`),
    named("userinfo", "spiffe://user@cluster.local/ns/shop/sa/web"),
    named("port", "spiffe://cluster.local:443/ns/shop/sa/web"),
    named("no trust domain", "spiffe:///ns/shop/sa/web"),
    named("one segment more", `${good}/x`),
    named("one segment less", "spiffe://cluster.local/ns/shop/sa"),
    named("another order", "spiffe://cluster.local/sa/web/ns/shop"),
    named("other scheme", good.replace("spiffe://", "https://")),
    named("long", `spiffe://cluster.local/ns/shop/sa/${"a".repeat(3_000)}`),
    named("long trust domain", `spiffe://${"a".repeat(256)}/ns/shop/sa/web`),
    named("wildcard", "spiffe://cluster.local/ns/shop/sa/*"),
  ];
}
