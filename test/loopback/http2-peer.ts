// tests · an HBONE server of another make: node:http2.
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { ca, serverLeaf } from "./hbone-pair.ts";
import { closedAtEnd } from "./support.ts";

/** A node:http2 server with our server's certificate that wants a client's. */
export async function peerServer(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  settings: http2.Settings = {},
  ciphers?: string,
): Promise<{ readonly port: number; readonly sessions: http2.ServerHttp2Session[]; close(): void }> {
  const server = http2.createSecureServer({
    ca: ca.pem,
    cert: serverLeaf.chainPem,
    key: serverLeaf.keyPem,
    requestCert: true,
    rejectUnauthorized: true,
    settings,
    ...(ciphers !== undefined && { ciphers }),
  });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address && typeof address === "object");
  return closedAtEnd({
    port: address.port,
    sessions,
    close() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  });
}
