// test cluster · the way from the machine's loopback to the API server: it was given a socket that listens outside, and dials from
// inside the control plane's namespace. So no interface or address of the cluster appears on the machine.
//   node doorway.ts ADDRESS PORT     descriptor 3: the listening socket
import { connect, createServer } from "node:net";

const [address = "", port = ""] = process.argv.slice(2);

const server = createServer({ allowHalfOpen: true }, (client) => {
  const api = connect({ host: address, port: Number(port), allowHalfOpen: true });
  client.pipe(api).pipe(client);
  // Either end's failure ends both; the client sees a closed connection, as from an API server that went away.
  client.on("error", () => api.destroy());
  api.on("error", () => client.destroy());
  client.on("close", () => api.destroy());
  api.on("close", () => client.destroy());
});
server.listen({ fd: 3 });
