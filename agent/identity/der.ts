// data thread · a strict reader of DER, only as much as a certificate's extensions need. Never throws, never reads outside.

/** One element: its tag byte and its content, as a view of the input. */
export type Element = { readonly tag: number; readonly content: Uint8Array };

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
} as const;

/** `[n]` constructed. */
export const contextTag = (number: number): number => 0xa0 | number;

/**
 * The elements that `bytes` consists of, or undefined when it is not exactly a row of DER elements: indefinite or
 * non-minimal lengths, tags above 30 and bytes left over are refused, since two readers could take them differently.
 */
export function elements(bytes: Uint8Array): Element[] | undefined {
  const out: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at++] ?? 0;
    if ((tag & 0x1f) === 0x1f) return undefined;
    const first = bytes[at++];
    if (first === undefined) return undefined;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      // Four length bytes hold more than any certificate; 0 is the indefinite form, which DER forbids.
      if (count === 0 || count > 4 || at + count > bytes.length) return undefined;
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (bytes[at++] ?? 0);
      if (length < 0x80 || length < 256 ** (count - 1)) return undefined;
    }
    if (length > bytes.length - at) return undefined;
    out.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return out;
}

/** The elements inside the one element that `bytes` is, when it has this tag. */
export function inside(bytes: Uint8Array, tag: number): Element[] | undefined {
  const all = elements(bytes);
  const [only] = all ?? [];
  return all?.length === 1 && only?.tag === tag ? elements(only.content) : undefined;
}

/** Content of an OBJECT IDENTIFIER as lower-case hex, for comparison with known ones. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
