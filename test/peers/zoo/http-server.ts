// test peers · the server of the zoo's HTTP clients: HTTP/1.1 and, at the next port, HTTP/2 without TLS. Each request is
// answered with what arrived.   node http-server.ts PORT      prints `listening`
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { text } from "node:stream/consumers";

async function answer(
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
): Promise<void> {
  const body = await text(request);
  response.setHeader("content-type", "text/plain");
  response.end(`${request.method} ${request.url} ${request.httpVersion} ${body}`);
}

const port = Number(process.argv[2]);
createServer((request, response) => void answer(request, response)).listen(port, "0.0.0.0", () => {
  createHttp2Server((request, response) => void answer(request, response)).listen(port + 1, "0.0.0.0", () => {
    process.stdout.write("listening\n");
  });
});
