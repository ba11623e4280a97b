// tests · how a peer ends a CONNECT stream: what it has ended with END_STREAM, and its application takes at once, stays whole whatever code its
// RST_STREAM has; and what it has not ended never looks whole.
import assert from "node:assert/strict";
import test from "node:test";
import { installBoth, serverEngine } from "./hbone-pair.ts";
import { DATA, END_STREAM, frame, HEADERS, RawPeer, RST_STREAM, u32 } from "./raw-h2.ts";
import { howItEnds, serve } from "./support.ts";
import { until } from "./until.ts";

/** RFC 9113 section 7. */
const codes = { NO_ERROR: 0, INTERNAL_ERROR: 2, STREAM_CLOSED: 5, CANCEL: 8, CONNECT_ERROR: 10 } as const;
const SAID = "payload";

for (const [name, code] of Object.entries(codes))
  for (const together of [true, false])
    test(`RST_STREAM ${name}, ${together ? "with" : "behind"} the last byte`, async () => {
      installBoth();
      const heard: string[] = [];
      const ends: Promise<string>[] = [];
      const app = await serve((socket) => {
        const nth = heard.push("") - 1;
        socket.on("data", (part) => (heard[nth] += part.toString()));
        ends.push(howItEnds(socket));
      });
      using under = serverEngine(() => app.port);
      const peer = await RawPeer.connect(under.listen(2, "hbone"));
      const stream = async (id: number, flags: number): Promise<void> => {
        peer.connect(id);
        await until(() => peer.frames.some((each) => each.type === HEADERS && each.stream === id), "the answer");
        const nth = (id - 1) / 2;
        const said = frame(DATA, flags, id, Buffer.from(SAID));
        const reset = frame(RST_STREAM, 0, id, u32(code));
        if (together) return peer.send(said, reset);
        peer.send(said);
        await until(() => heard[nth] === SAID, "what was said");
        peer.send(reset);
      };
      await stream(1, 0);
      assert.equal(await ends[0], "ECONNRESET", "cut");
      await stream(3, END_STREAM);
      assert.equal(await ends[1], "end", "whole");
      assert.deepEqual(heard, [SAID, SAID]);
      app.close();
    });
