// 7, 12 · any thread · Orlop's own ports (docs/reference/hbone.md#ports) and the rule that nothing is ever sent to them.

/** Outbound capture, on loopback inside each pod. */
export const OUTBOUND_PORT = 15001;
/** Inbound plaintext capture, reached by sk_lookup only. */
export const INBOUND_PORT = 15006;
/** HBONE, on each pod address. */
export const HBONE_PORT = 15008;

/**
 * Ports that Orlop listens on inside a pod. A connection to such a port, dialled or resolved (a Service's targetPort),
 * would reach ourselves and not an application (docs/reference/failures.md, row E1).
 */
export function isOwnPort(port: number): boolean {
  return port === OUTBOUND_PORT || port === INBOUND_PORT || port === HBONE_PORT;
}
