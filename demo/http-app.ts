// demo · an HTTP/1.1 application in a pod: says what it was asked. `/stream` begins an answer that never ends by itself.
//   node http-app.ts PORT POD
import http from "node:http";

const server = http.createServer((request, response) => {
  const body: Buffer[] = [];
  request.on("data", (chunk) => body.push(chunk));
  request.on("end", () => {
    const { method, url, headers, socket } = request;
    const said = JSON.stringify({
      pod: process.argv[3],
      method,
      url,
      headers,
      body: Buffer.concat(body).toString(),
      peer: socket.remoteAddress,
    });
    if (url !== "/stream") response.end(said);
    else response.write(said);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "::", () => console.log("listening"));
