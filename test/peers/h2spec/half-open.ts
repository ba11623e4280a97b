// test peers · an application that speaks first, says again what it hears, and never ends its half of a connection.
//   node half-open.ts PORT      prints `listening`
import { createServer } from "node:net";

const [port = "0"] = process.argv.slice(2);
const server = createServer({ allowHalfOpen: true }, (socket) => {
  // A judge ends connections as it likes.
  socket.on("error", () => {});
  socket.write("220 half-open at your service\r\n");
  socket.on("data", (data) => socket.write(data));
});
server.listen(Number(port), "0.0.0.0", () => process.stdout.write("listening\n"));
