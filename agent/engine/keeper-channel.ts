// main thread · the unix socket to the keeper, on engine.node's FdSocket: packets as text, descriptors beside them.
import type { ConnectChannel } from "./keeper-session.ts";

/** What is used of class FdSocket, which engine.node and keeper.node both export. */
export interface NativeFdSocket {
  send(bytes: Uint8Array, fds: Int32Array): void;
  onMessage(handler: (bytes: Buffer, fds: Int32Array) => void): void;
  onClose(handler: (error: Error | undefined) => void): void;
  close(): void;
}

/** @param sockets class FdSocket of engine.node. */
export function fdChannel(sockets: { connect(path: string): NativeFdSocket }): ConnectChannel {
  return (path, events) => {
    const socket = sockets.connect(path);
    socket.onMessage((bytes, fds) => events.onPacket(bytes.toString("utf8"), [...fds]));
    let closing = false;
    socket.onClose(() => {
      if (!closing) events.onClosed();
    });
    return {
      send: (text, fds) => {
        try {
          socket.send(Buffer.from(text), Int32Array.from(fds));
          return true;
        } catch {
          return false; // Too many bytes wait, or the socket is closed: the client begins a new session either way.
        }
      },
      close: () => {
        closing = true;
        socket.close();
      },
    };
  };
}
