// any thread · what the configurations of Orlop's own programs have in common: the document around `spec`, and where a program listens.
import { ignored, integer, mapOf, object, oneOf, optional, type Reader, required, string, text } from "./schema.ts";

const port = integer(1, 65_535);
const host = text(
  "an IP address or localhost",
  (name) => (name === "localhost" || /^[0-9a-fA-F.:]{2,45}$/.test(name) ? name : undefined),
  "a listener binds to an address",
  "write an address such as 0.0.0.0, 127.0.0.1 or ::",
);

/** An address to listen at, with what holds where the document says nothing. */
export function listener(defaults: { readonly host: string; readonly port: number }) {
  const read = object({ host: optional(host, defaults.host), port: optional(port, defaults.port) });
  return optional(read, defaults);
}

/** A document of this kind whose `spec` is read by `spec`. */
export function configDocument<const Kind extends string, Spec>(kind: Kind, spec: Reader<Spec>) {
  return object({
    apiVersion: required(oneOf("orlop.dev/v1alpha1")),
    kind: required(oneOf(kind)),
    metadata: optional(
      object({
        name: optional(string, ""),
        labels: optional(mapOf(string), {}),
        annotations: optional(mapOf(string), {}),
      }),
      { name: "", labels: {}, annotations: {} },
    ),
    spec: required(spec),
    status: ignored,
  });
}
