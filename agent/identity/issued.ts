// main thread · what an authority answered, before it is believed: whose certificate it is, and whether it came in time.
import { X509Certificate } from "node:crypto";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { readPeerCertificate } from "./peer-certificate.ts";
import type { IssuedCertificate } from "./provider.ts";

/** The leaf's serial, once it is certain that leaf and key are those of `spiffeId`: the authority is believed in nothing else. */
export function checkedSerial(spiffeId: SpiffeId, issued: IssuedCertificate): string {
  const leaf = new X509Certificate(issued.chainPem);
  const read = readPeerCertificate(leaf.raw);
  if (!("spiffeId" in read)) throw new Error(`the authority's certificate names nobody: ${read.reject}`);
  if (read.spiffeId.text !== spiffeId.text) {
    throw new Error(`asked for ${spiffeId.text}, the authority's certificate is of ${read.spiffeId.text}`);
  }
  if (!issued.key.held) throw new Error("the authority's answer has no key");
  return leaf.serialNumber.toLowerCase();
}

/** Rejects when the signal aborts, whatever the provider does; a key that comes too late is wiped. */
export function abortable(work: Promise<IssuedCertificate>, signal: AbortSignal): Promise<IssuedCertificate> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    work
      .then((issued) => {
        if (signal.aborted) issued.key.wipe();
        resolve(issued);
      }, reject)
      .finally(() => signal.removeEventListener("abort", stop));
  });
}
