// main thread · a file of roots, PEM, that somebody else keeps: a ConfigMap that the kubelet mounts. Bounded, and whole or nothing.
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";

const MAX_BYTES = 256 * 1024;
const MAX_ROOTS = 64;
const certificateForm = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * At most `maxBytes` of a regular file.
 * @throws Error that names the file
 */
export function readBoundedFile(file: string, maxBytes: number): string {
  // A pipe in the file's place would hold the program up.
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw new Error(`${file} is not a regular file`);
    if (found.size > maxBytes) throw new Error(`${file} is larger than ${maxBytes} bytes`);
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

/**
 * The roots, PEM, one certificate each.
 * @throws Error that names the file: not there, empty, cut off, or holding something else
 */
export function readRootBundle(file: string): readonly string[] {
  return rootsIn(readBoundedFile(file, MAX_BYTES), file);
}

/** @param from where the text comes from, for errors. @throws Error when it is not one certificate or more, and nothing but comments */
export function rootsIn(text: string, from: string): readonly string[] {
  const roots = [...text.matchAll(certificateForm)].map(([pem]) => pem);
  const rest = text.replaceAll(certificateForm, "").replaceAll(/^\s*#.*$/gm, "");
  if (rest.trim() !== "") throw new Error(`${from}: a certificate in it is cut off, or it holds something else`);
  if (roots.length === 0) throw new Error(`${from} holds no certificate`);
  if (roots.length > MAX_ROOTS) throw new Error(`${from} holds over ${MAX_ROOTS} certificates`);
  return roots;
}
