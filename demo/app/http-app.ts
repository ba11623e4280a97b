// demo · an HTTP/1.1 application in a pod: says what it was asked. `/stream` begins an answer that never ends by itself; each tenth request of
// `/accounts/flaky` fails, and the first four of `/accounts/broken`. Of `/accounts/slow` it says how many it has had at once at most.
//   node http-app.ts PORT POD
import http from "node:http";

/** Of `/accounts/slow`. */
const SLOW_MS = 200;
const slow = { open: 0, most: 0 };
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
    if (url === "/accounts/slow") slow.open += 1;
    slow.most = Math.max(slow.most, slow.open);
    const said = JSON.stringify({
      nth,
      most: slow.most,
      pod: process.argv[3],
      method,
      url,
      headers,
      body: Buffer.concat(body).toString(),
      peer: socket.remoteAddress,
    });
    if (url === "/stream") return response.write(said);
    if (url !== "/accounts/slow") return response.end(said);
    setTimeout(() => {
      slow.open -= 1;
      response.end(said);
    }, SLOW_MS);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "::", () => console.log("listening"));
