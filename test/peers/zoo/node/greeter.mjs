// gRPC in Node without generated code: greeter.mjs serve PORT | call HOST PORT COUNT.
import { once } from "node:events";
import grpc from "@grpc/grpc-js";

const text = { serialize: (said) => Buffer.from(said), deserialize: (bytes) => bytes.toString() };
const method = (name, stream) => ({
  path: `/zoo.Greeter/${name}`,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: text.serialize,
  requestDeserialize: text.deserialize,
  responseSerialize: text.serialize,
  responseDeserialize: text.deserialize,
});
const service = { greet: method("Greet", false), chat: method("Chat", true) };

function serve(port) {
  const server = new grpc.Server();
  server.addService(service, {
    greet: (call, answer) => answer(null, `hello ${call.request}`),
    chat: (stream) => {
      stream.on("data", (said) => stream.write(`again ${said}`));
      stream.on("end", () => stream.end());
    },
  });
  server.bindAsync(`0.0.0.0:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
    console.log("listening");
  });
}

async function call(host, port, count) {
  const Client = grpc.makeGenericClientConstructor(service, "zoo.Greeter");
  const client = new Client(`${host}:${port}`, grpc.credentials.createInsecure());
  const stream = client.chat();
  for (let number = 0; number < count; number += 1) {
    const said = `call ${number}`;
    const answer = await new Promise((resolve, reject) => {
      client.greet(said, (error, text) => (error ? reject(error) : resolve(text)));
    });
    stream.write(said);
    const [again] = await once(stream, "data");
    console.log(answer, again);
  }
  stream.end();
  client.close();
}

const [role, first, second, third] = process.argv.slice(2);
if (role === "serve") serve(first);
else await call(first, second, Number(third));
