// test support · a caller in a pod that keeps a connection of HTTP/2 without TLS, and makes a call for each line of its input.
//   node grpc-caller.ts HOST PORT      lines in and out are JSON: GrpcAsked, GrpcHeard
// Calls are answered in the order of their ends; a call of Watch says `began` with its first message, too.
import http2 from "node:http2";
import { createInterface } from "node:readline";

export type GrpcAsked = {
  readonly path: string;
  readonly isGrpc: boolean;
  readonly headers?: Readonly<Record<string, string>>;
};
export type GrpcHeard = {
  readonly path: string;
  readonly began?: true;
  readonly status?: number;
  /** Of the trailers, or of a head that is all of the answer. */
  readonly grpcStatus?: string;
  readonly grpcMessage?: string;
  /** `x-name` of the answer. */
  readonly name?: string;
  readonly body?: string;
  /** Of a reset; 0: in order. */
  readonly code?: number;
};

const [host = "", port = ""] = process.argv.slice(2);
// Node's own :authority of an IPv6 address lacks the brackets of RFC 3986 section 3.2.2.
const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
const session = http2.connect(`http://${authority}`);
session.on("error", () => {});
const say = (heard: GrpcHeard): void => console.log(JSON.stringify(heard));

createInterface({ input: process.stdin }).on("line", (line) => {
  const { path, isGrpc, headers = {} } = JSON.parse(line) as GrpcAsked;
  const grpc = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
  const stream = session.request(
    { ":path": path, ":authority": authority, ...(isGrpc && grpc), ...headers },
    { endStream: !isGrpc },
  );
  const body: Buffer[] = [];
  let fields: http2.IncomingHttpHeaders = {};
  stream.on("response", (came) => {
    fields = { ...came };
  });
  stream.on("trailers", (came) => {
    fields = { ...fields, ...came };
  });
  stream.on("data", (chunk: Buffer) => {
    if (body.push(chunk) === 1 && path.endsWith("/Watch")) say({ path, began: true });
  });
  stream.on("error", () => {});
  stream.on("close", () => {
    const { ":status": status, "grpc-status": grpcStatus, "grpc-message": grpcMessage, "x-name": name } = fields;
    const words = {
      ...(grpcStatus !== undefined && { grpcStatus: String(grpcStatus) }),
      ...(grpcMessage !== undefined && { grpcMessage: String(grpcMessage) }),
      ...(name !== undefined && { name: String(name) }),
    };
    say({
      path,
      status: Number(status ?? 0),
      ...words,
      body: Buffer.concat(body).toString(),
      code: stream.rstCode ?? 0,
    });
  });
  // A message of gRPC: not compressed, three bytes.
  if (isGrpc) stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 3]), Buffer.from("hey")]));
});
