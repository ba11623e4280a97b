// test support · an HTTP/1.1 application in a pod: says who it is and what it was asked. `/slow` answers after two seconds; what ends in `/big` answers
// three million bytes more; of ten answers to `/flaky` the last is a 503. Who asks for an upgrade gets it, and hears what it says.
//   node echo-http.ts PORT NAME [tells]      tells: also prints what it was asked, a line of JSON each, with the digest of the body
import { createHash } from "node:crypto";
import http from "node:http";

const [, , port = "", name = "", tells = ""] = process.argv;
let flaky = 0;
const server = http.createServer((request, response) => {
  const { method, url, headers, socket } = request;
  response.setHeader("server", "echo");
  let bytes = 0;
  const digest = createHash("sha256");
  const answer = (): void => {
    const said = { name, method, url, headers, bytes, peer: socket.remoteAddress, port: socket.remotePort };
    response.setHeader("x-bytes", bytes);
    if (tells === "tells") console.log(JSON.stringify({ ...said, digest: digest.digest("hex") }));
    if (url?.startsWith("/flaky") && ++flaky % 10 === 0) response.statusCode = 503;
    if (url?.endsWith("/big")) response.write(" ".repeat(3_000_000));
    response.end(`${JSON.stringify(said)}\n`);
  };
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (tells === "tells") digest.update(chunk);
  });
  request.on("end", () => (url?.startsWith("/slow") ? setTimeout(answer, 2_000) : answer()));
});
server.on("upgrade", (_request, socket) => {
  // A reset ends this connection, not the application.
  socket.on("error", () => socket.destroy());
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  socket.pipe(socket);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "::", () => console.log("listening"));
