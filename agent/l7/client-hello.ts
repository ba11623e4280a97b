// 8 · any thread · the first bytes of a caller of TLS → the server that it names (RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3). It
// reads no more than that and believes nothing: the bytes are a stranger's, and what they say chooses a way, never a permission. Pure.

export type HelloRead =
  /** The caller begins as TLS does. `serverName` in lower case; null: it names none. */
  | { readonly kind: "hello"; readonly serverName: string | null }
  /** So many bytes from the beginning are needed, at least. */
  | { readonly kind: "more"; readonly bytes: number }
  /** It is no TLS, or none that is read here. */
  | { readonly kind: "none" };

/** Of records and of the message: what begins longer is not read. */
export const LONGEST_HELLO = 16_384;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_HEAD = 5;
const MESSAGE_HEAD = 4;
const SERVER_NAME = 0;
const HOST_NAME = 0;

const none: HelloRead = Object.freeze({ kind: "none" });

/** @param bytes from the beginning of the connection */
export function clientHello(bytes: Uint8Array): HelloRead {
  const parts: Uint8Array[] = [];
  let has = 0;
  let at = 0;
  /** Of the message, with its head; 0: not known yet. */
  let wanted = 0;
  for (;;) {
    const first = bytes.subarray(at, at + RECORD_HEAD);
    const [type = HANDSHAKE, major = 3, , high = 0, low = 0] = first;
    if (type !== HANDSHAKE || major !== 3) return none;
    if (first.length < RECORD_HEAD) return more(at + RECORD_HEAD);
    const length = high * 256 + low;
    // An empty record of a handshake is an error (RFC 8446, section 5.1).
    if (length === 0) return none;
    const part = bytes.subarray(at + RECORD_HEAD, at + RECORD_HEAD + length);
    const [kind = CLIENT_HELLO] = parts.length === 0 ? part : [];
    if (kind !== CLIENT_HELLO) return none;
    if (part.length < length) return more(at + RECORD_HEAD + length);
    parts.push(part);
    has += length;
    at += RECORD_HEAD + length;
    if (has < MESSAGE_HEAD) continue;
    // Read once: a hostile caller sends a byte in each record.
    wanted ||= messageLength(joined(parts));
    if (wanted > LONGEST_HELLO) return none;
    if (has >= wanted) return helloOf(new Cursor(joined(parts).subarray(MESSAGE_HEAD, wanted)));
  }
}

function messageLength(message: Uint8Array): number {
  const [, high = 0, middle = 0, low = 0] = message;
  return MESSAGE_HEAD + high * 65_536 + middle * 256 + low;
}

const more = (bytes: number): HelloRead => (bytes > LONGEST_HELLO ? none : { kind: "more", bytes });

function helloOf(body: Cursor): HelloRead {
  const version = body.number(2);
  const random = body.bytes(32);
  const session = body.block(1);
  const suites = body.block(2);
  const compression = body.block(1);
  if (version === undefined || version >> 8 !== 3 || random === undefined || session === undefined) return none;
  if (suites === undefined || suites.left < 2 || compression === undefined || compression.left < 1) return none;
  // Extensions may be missing altogether.
  if (body.left === 0) return { kind: "hello", serverName: null };
  const extensions = body.block(2);
  if (extensions === undefined || body.left > 0) return none;
  let serverName: string | null = null;
  let isNamed = false;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const data = extensions.block(2);
    if (type === undefined || data === undefined) return none;
    if (type !== SERVER_NAME) continue;
    const name = isNamed ? undefined : nameOf(data);
    if (name === undefined) return none;
    isNamed = true;
    serverName = name;
  }
  return { kind: "hello", serverName };
}

/** undefined: the list is none, or has several names. */
function nameOf(data: Cursor): string | undefined {
  const list = data.block(2);
  if (list === undefined || data.left > 0) return undefined;
  const type = list.number(1);
  const name = list.block(2);
  if (type !== HOST_NAME || name === undefined || list.left > 0) return undefined;
  const text = Buffer.from(name.bytes(name.left) ?? [])
    .toString("latin1")
    .toLowerCase();
  return /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/.test(text) && text.length <= 253 ? text : undefined;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
}

/** Reads numbers, and blocks that announce their length, and never beyond its bytes. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  number(size: 1 | 2): number | undefined {
    const bytes = this.bytes(size);
    return bytes?.reduce((sum, byte) => sum * 256 + byte, 0);
  }

  bytes(length: number): Uint8Array | undefined {
    if (length > this.left) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  block(size: 1 | 2): Cursor | undefined {
    const length = this.number(size);
    const bytes = length === undefined ? undefined : this.bytes(length);
    return bytes && new Cursor(bytes);
  }
}
