// tests · what smugglers send, through an engine that judges each request, to Node's HTTP server: each row of smuggling.ts is heard and
// read as it says (docs/reference/failures.md, B1, B2).
import assert from "node:assert/strict";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { application, reads, ways } from "./read-engine.ts";
import { smuggling } from "./smuggling.ts";
import { dial } from "./support.ts";

/** All statuses in the order in which they came, and `reset` where the connection did not end in good order. */
async function heardFrom(socket: net.Socket): Promise<readonly (number | "reset")[]> {
  let text = "";
  socket.on("data", (data) => {
    text += data.toString("latin1");
  });
  const how = await new Promise<"end" | "reset">((resolve) => {
    socket.once("end", () => resolve("end"));
    socket.once("close", () => resolve("reset"));
  });
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  return how === "end" ? statuses : [...statuses, "reset"];
}

for (const way of ways) {
  test(`${way}: of what smugglers send, the application reads what was judged and nothing else`, async () => {
    let read: string[] = [];
    const app = await application((request, response) => {
      let length = 0;
      request.on("data", (data: Buffer) => {
        length += data.length;
      });
      if (request.url === "/early") response.end("early");
      request.on("end", () => {
        read.push(`${request.method} ${request.url} ${length}`);
        response.end("read");
      });
      request.on("error", () => {
        // A body that is cut: it is not read whole.
      });
    });
    using under = reads(way, app.port);
    for (const { what, because, sent, heard, read: expected } of smuggling) {
      read = [];
      const socket = await dial(under.port);
      const hears = heardFrom(socket);
      const [first = "", ...pieces] = typeof sent === "string" ? [sent] : sent;
      const begun = pieces.length > 0 ? once(app, "request") : undefined;
      socket.write(first, "latin1");
      await begun;
      for (const piece of pieces) socket.write(piece, "latin1");
      socket.end();
      assert.deepEqual({ heard: await hears, read }, { heard, read: expected }, `${what}\n${because}`);
      socket.destroy();
    }
    assert.deepEqual(under.engine.errors, []);
  });
}
