// demo · an HTTP/1.1 client in a pod, over one connection that is kept: each line of its input is a request, each line of its
// output says what came of a request. A response that goes on says so once, and once more when it ends.
//   node http-caller.ts HOST PORT
import http from "node:http";
import { createInterface } from "node:readline";

/** `headers` as `http.request` takes them. */
export type Asked = {
  readonly method: string;
  readonly path: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string;
};
export type Heard = {
  readonly status?: number;
  readonly body?: string;
  /** The port that the connection is called from. */
  readonly from?: number;
  readonly begun?: true;
  readonly error?: string;
};

const [host = "", port = ""] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const say = (heard: Heard): void => console.log(JSON.stringify(heard));

for await (const line of createInterface({ input: process.stdin })) {
  const { method, path, headers = {}, body = "" } = JSON.parse(line) as Asked;
  await new Promise<void>((resolve) => {
    const request = http.request({ host, port, agent, method, path, headers });
    const failed = (error: NodeJS.ErrnoException): void => {
      say({ error: error.code ?? error.message });
      resolve();
    };
    request.on("error", failed);
    request.on("response", (response) => {
      const status = response.statusCode ?? 0;
      const from = response.socket.localPort ?? 0;
      let text = "";
      response.on("data", (chunk) => {
        const isFirst = text === "";
        text += chunk;
        if (path === "/stream" && isFirst) say({ status, body: text, from, begun: true });
      });
      response.on("error", failed);
      response.on("end", () => {
        say({ status, body: text, from });
        resolve();
      });
    });
    request.end(body);
  });
}
