// test support · an application in a pod that speaks gRPC over HTTP/2 without TLS, written by hand on node:http2.
//   node grpc-app.ts PORT [NAME] [tells]      prints `listening`; answers carry the name as `x-name`. tells: also prints each whole call as JSON
// /demo.Greeter/Hello answers with what it got; /demo.Greeter/Watch sends a message each 50 ms. The application answers a request that is no call of gRPC with JSON.
import { createServer } from "node:http2";

const [, , port = "", name = "", tells = ""] = process.argv;
const server = createServer();
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (headers["content-type"] !== "application/grpc") {
    stream.respond({ ":status": 200, "x-name": name });
    stream.end(JSON.stringify({ method: headers[":method"], path: headers[":path"] }));
    return;
  }
  stream.respond({ ":status": 200, "content-type": "application/grpc", "x-name": name }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  if (headers[":path"] === "/demo.Greeter/Watch") {
    const each = setInterval(() => stream.write(Buffer.from([0, 0, 0, 0, 1, 0x77])), 50);
    stream.on("close", () => clearInterval(each));
    return;
  }
  stream.on("end", () => {
    const body = Buffer.concat(chunks);
    if (tells === "tells") console.log(JSON.stringify({ name, headers, body: body.toString("latin1") }));
    stream.end(body);
  });
});
server.on("sessionError", () => {});
server.listen(Number(port), "::", () => console.log("listening"));
