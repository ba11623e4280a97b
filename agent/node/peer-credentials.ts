// main thread · who connected to the admin socket, as the kernel says.
import type { Socket } from "node:net";
import type { PeerCredentials } from "../admin/server.ts";

/**
 * SO_PEERCRED of an accepted unix socket; null when it is closed already. Node has no call for it, and its sockets have no public
 * descriptor.
 * @param credentialsOf engine.node's call on a descriptor
 */
export function peerCredentials(
  socket: Socket,
  credentialsOf: (fd: number) => PeerCredentials,
): PeerCredentials | null {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd !== "number" || fd < 0) return null;
  try {
    return credentialsOf(fd);
  } catch {
    return null; // The peer has closed it meanwhile, and gets no answer in any case.
  }
}
