// 12 · any thread · what a CONNECT's authority names. Strict: what two readers could read differently is
// invalid (docs/reference/failures.md, row E2).

export type ConnectAuthority =
  | { readonly kind: "address"; readonly address: string; readonly port: number }
  /** A name and port: understood, and not served. */
  | { readonly kind: "hostname" }
  | { readonly kind: "invalid" };

const invalid: ConnectAuthority = { kind: "invalid" };

// 1-65535 without a leading zero; the range is checked below.
const portForm = "([1-9][0-9]{0,4})";
const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const ipv4 = new RegExp(`^(${octet}\\.${octet}\\.${octet}\\.${octet}):${portForm}$`);
const ipv6 = new RegExp(`^\\[([0-9a-f:]{2,39})\\]:${portForm}$`);
// At least one letter in the last label: "1.2.3" or "0x7f.1" must not pass for a name that a resolver reads as an address.
const hostname = new RegExp(
  `^(?=.{1,259}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?:${portForm}$`,
);

/**
 * `ip:port` or `[ip]:port`, or a lower-case name and port. Never throws. An IPv6 address is taken as it is spelled: it is only
 * ever compared with canonical text, so another spelling of the same address is another address, and refused.
 */
export function parseAuthority(text: string): ConnectAuthority {
  if (text.length > 265) return invalid;
  const literal = ipv4.exec(text) ?? ipv6.exec(text);
  if (literal !== null) {
    const [, address = "", digits = ""] = literal;
    const port = Number(digits);
    return port <= 65_535 ? { kind: "address", address, port } : invalid;
  }
  const named = hostname.exec(text);
  return named !== null && Number(named[1]) <= 65_535 ? { kind: "hostname" } : invalid;
}
