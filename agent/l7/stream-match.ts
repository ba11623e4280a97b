// 8 · any thread · routes of TCP connections → the route that takes a connection. Pure.
import { fullName } from "../mesh/full-name.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";

/**
 * The most exact name of a server counts, then the oldest route, then the first by name, as of other routes (gateway-api:apis/v1,
 * TLSRouteSpec.hostnames). A route without names takes every connection.
 * @param routes of one kind, that are about the port
 * @param serverName in lower case, as the caller has named it; null: it has named none
 * @returns undefined: no route takes it.
 */
export function streamRouteFor(routes: readonly StreamRoute[], serverName: string | null): StreamRoute | undefined {
  let best: { readonly route: StreamRoute; readonly rank: number } | undefined;
  for (const route of routes) {
    const rank = rankOf(route, serverName);
    if (rank < 0) continue;
    if (best === undefined || rank > best.rank || (rank === best.rank && precedes(route, best.route)))
      best = { route, rank };
  }
  return best?.route;
}

/** How exactly the route names the server; negative: not at all. */
function rankOf({ kind, hostnames }: StreamRoute, serverName: string | null): number {
  if (kind === "TCPRoute") return 0;
  if (serverName === null) return -1;
  return hostnames.reduce((best, hostname) => Math.max(best, exactness(hostname, serverName)), -1);
}

/** A whole name is above every name with a star, and of these the longest is above the others. */
function exactness(hostname: string, serverName: string): number {
  if (hostname === serverName) return 1_000;
  const behind = hostname.startsWith("*.") ? hostname.slice(1) : null;
  return behind !== null && serverName.length > behind.length && serverName.endsWith(behind) ? behind.length : -1;
}

function precedes(a: StreamRoute, b: StreamRoute): boolean {
  return a.createdMs === b.createdMs ? fullName(a) < fullName(b) : a.createdMs < b.createdMs;
}
