// any thread · an address with a port, and its one text. Pure.
import { isIpv6 } from "./ip.ts";

/** `address` is canonical text, see ip.ts; `port` is 0 to 65535. */
export type Endpoint = { readonly address: string; readonly port: number };

/** `a.b.c.d:port` or `[v6]:port`: the form of an HTTP authority (RFC 3986 §3.2.2), of headers, logs and output. */
export function endpointText({ address, port }: Endpoint): string {
  return isIpv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}
