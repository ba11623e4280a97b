// tests · a request that policy refuses while a response of its origin's is held for another try: its caller gets the refusal, and nothing
// of the response.
import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { ask as askHttp2, h2cApplication, h2cCaller } from "./h2c.ts";
import { refOf } from "./hbone-pair.ts";
import { ask, serves, to } from "./origin-engine.ts";
import { application } from "./read-engine.ts";

for (const protocol of ["HTTP/1", "HTTP/2"] as const) {
  test(`${protocol}: asked about again while it waits for another try, and refused`, async () => {
    const app =
      protocol === "HTTP/1"
        ? await application((_request, response) => response.writeHead(503).write("secret"))
        : await h2cApplication((stream) => {
            stream.respond({ ":status": 503 });
            stream.write("secret");
          });
    const judged: RequestEvent[] = [];
    let waits = 0;
    using under = serves(
      "direct",
      [app.port],
      (event) => {
        judged.push(event);
        if (judged.length === 1) return to(event, 1, { asks: "any" });
        return { ...refOf(event), type: "reply", request: event.request, status: 403, body: "denied" };
      },
      (event) => {
        waits += 1;
        return { ...refOf(event), type: "hold", request: event.request, ms: 60_000 };
      },
    );
    const asked = async (): Promise<readonly [number, string]> => {
      if (protocol === "HTTP/1") {
        const { status, body } = await ask(under.port);
        return [status, body];
      }
      using caller = h2cCaller(under.port);
      await once(caller.session, "connect");
      const { status, body } = await askHttp2(caller.session, { headers: { ":path": "/" } });
      return [status, body.toString()];
    };
    const heard = asked();
    while (waits === 0) await sleep(2);
    const [first] = judged;
    assert.ok(first);
    under.engine.engine.answer({ ...refOf(first), type: "ask-again" });
    assert.deepEqual(await heard, [403, "denied"]);
    assert.equal(judged.length, 2);
    assert.deepEqual(under.errors(), []);
  });
}
