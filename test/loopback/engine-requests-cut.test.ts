// tests · bodies that end too early, by either side, and callers that are slow or half gone: nothing cut looks whole, nothing whole is cut.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { application, byPath, reads, ways } from "./read-engine.ts";
import { ended } from "./read-requests.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";

for (const way of ways) {
  test(`${way}: a body that ends too early is never an orderly end, on either side`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal(await howItEnds(socket), "ECONNRESET");
    assert.equal(ended(under)[0]?.outcome, "reset-by-upstream");
    const other = await dial(under.port);
    other.end("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    await under.engine.event(
      "closed",
      ({ conn, generation }) => under.engine.closed()[0]?.conn !== conn || generation > 1,
    );
    while (ended(under).length < 2) await sleep(5);
    assert.equal(ended(under)[1]?.outcome, "reset-by-downstream");
    app.close();
  });

  test(`${way}: an application that works on a request learns that its caller has ended`, async () => {
    let hears: (value: string) => void = () => {};
    const heard = new Promise<string>((resolve) => {
      hears = resolve;
    });
    const app = await serve((socket) => {
      socket.once("data", (data) => {
        if (!data.toString().startsWith("POST")) return;
        socket.on("end", () => {
          hears("its end");
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        });
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    while (app.connections.every(({ bytesRead }) => bytesRead === 0)) await sleep(2);
    await sleep(30);
    socket.end();
    assert.equal(await heard, "its end");
    assert.match((await readAll(socket)).toString(), /late$/);
    assert.equal(ended(under)[0]?.outcome, "answered");
    app.close();
  });

  test(`${way}: a caller that has ended its half and waits costs nothing meanwhile`, async () => {
    const app = await serve((socket) => socket.once("data", () => {}));
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.end("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await under.engine.event("request");
    await sleep(100);
    const before = process.cpuUsage();
    await sleep(1_000);
    const { user, system } = process.cpuUsage(before);
    // A turn that asks for the next turn without end takes all of it.
    assert.ok(user + system < 500_000, `${user + system} us of a second`);
    app.close();
  });

  test(`${way}: a last answer arrives whole although its application resets behind it`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge", () => {
          socket.resetAndDestroy();
        });
      });
    });
    using under = reads(way, app.port);
    for (let round = 0; round < 10; round++) {
      const socket = await dial(under.port);
      const got: Buffer[] = [];
      const ends = new Promise<void>((resolve) => {
        socket.on("data", (data) => got.push(data));
        for (const end of ["end", "error", "close"]) socket.on(end, () => resolve());
      });
      socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
      socket.write(Buffer.alloc(200_000));
      await ends;
      assert.match(Buffer.concat(got).toString(), /large$/, `round ${round}`);
      socket.destroy();
    }
    app.close();
  });

  test(`${way}: a chunk without its end is never made whole, also where policy only watches`, async () => {
    const got: Buffer[] = [];
    const app = await serve((socket) => socket.on("data", (data) => got.push(data)));
    using under = reads(way, app.port, byPath, "or-pass");
    const socket = await dial(under.port);
    const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write(`${head}5\r\nhello0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n`);
    await readAll(socket);
    socket.end();
    await under.engine.event("closed");
    assert.doesNotMatch(Buffer.concat(got).toString(), /0\r\n\r\n|GET/);
    app.close();
  });

  test(`${way}: a caller that reads slowly gets all of an answer that ends its connection`, async () => {
    const size = 6_000_000;
    const app = await application((_, response) =>
      response.writeHead(200, { connection: "close" }).end("x".repeat(size)),
    );
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let heard = 0;
    // Longer than a connection lingers behind its last byte.
    for await (const chunk of socket) {
      if (heard === 0) await sleep(2_500);
      heard += chunk.length;
    }
    assert.ok(heard > size, String(heard));
    assert.equal(ended(under)[0]?.outcome, "answered");
  });
}
