// demo · an HTTP/1.1 application in a pod: says what it was asked. `/stream` begins an answer that never ends by itself; each tenth request of
// `/accounts/flaky` fails, and the first four of `/accounts/broken`.
//   node http-app.ts PORT POD
import http from "node:http";

const asked = new Map<string, number>();
const fails = (url: string, nth: number): boolean =>
  (url === "/accounts/flaky" && nth % 10 === 0) || (url === "/accounts/broken" && nth <= 4);

const server = http.createServer((request, response) => {
  const body: Buffer[] = [];
  request.on("data", (chunk) => body.push(chunk));
  request.on("end", () => {
    const { method, url = "", headers, socket } = request;
    const nth = (asked.get(url) ?? 0) + 1;
    asked.set(url, nth);
    if (fails(url, nth)) response.statusCode = 503;
    const said = JSON.stringify({
      nth,
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
