// any thread · which protocol the author of a Service declares for a port. Nothing proves it, so no policy depends on it. Pure.
import type { ServicePort } from "../mesh/service.ts";

/** "opaque": TCP, TLS, or a protocol of databases. "undeclared": the port names no protocol, or an unknown word. */
export type PortHint = "http1" | "http2" | "opaque" | "undeclared";

/** Istio's words, in lower case (istio:pkg/config/protocol/instance.go), and Kubernetes' standard values of appProtocol. */
const hints: ReadonlyMap<string, PortHint> = new Map([
  ...(["http", "http_proxy", "grpc-web", "kubernetes.io/ws"] as const).map((word) => [word, "http1"] as const),
  ...(["http2", "grpc", "h2c", "kubernetes.io/h2c"] as const).map((word) => [word, "http2"] as const),
  ...(["tcp", "udp", "tls", "https", "mongo", "mysql", "redis", "kubernetes.io/wss"] as const).map(
    (word) => [word, "opaque"] as const,
  ),
]);

/**
 * The appProtocol decides; without it the name of the port up to its first hyphen, as Istio reads it
 * (istio:pkg/config/kube/conversion.go). Case does not matter.
 */
export function portHint({ name, appProtocol }: Pick<ServicePort, "name" | "appProtocol">): PortHint {
  const word = (appProtocol === "" ? name : appProtocol).toLowerCase();
  const known = hints.get(word);
  if (known !== undefined) return known;
  if (word.startsWith("grpc-web")) return "http1";
  const hyphen = word.indexOf("-");
  return (hyphen < 0 ? undefined : hints.get(word.slice(0, hyphen))) ?? "undeclared";
}
