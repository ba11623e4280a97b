// tests · an origin of HTTP/2 that says GOAWAY, refuses streams and resets connections at random: no POST is processed twice, and of those that the
// origin says it has not processed none fails. 1,000 POSTs for each way; with ORLOP_SOAK=1 a million.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import type net from "node:net";
import test, { type TestContext } from "node:test";
import type { Answer } from "../../agent/engine/answers.ts";
import type { TryFailed } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { response } from "./h2c.ts";
import { refOf } from "./hbone-pair.ts";
import { endedOf, type Served, serves, to, ways } from "./origin-engine.ts";

const POSTS = process.env.ORLOP_SOAK === "1" ? 1_000_000 : 1_000;
const CALLERS = 32;
const SESSIONS = 4;
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR } = http2.constants;

/** They are processed, and not answered. */
const isBrokenOff = (id: number): boolean => id % 101 === 7;

type Manners = "says what it has processed" | "resets connections";
type Origin = { readonly port: number; readonly times: Map<number, number>; readonly acts: Map<string, number> };

/** How often each POST was processed. */
async function origin(t: TestContext, dice: Dice, manners: Manners): Promise<Origin> {
  const [times, acts] = [new Map<number, number>(), new Map<string, number>()];
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer();
  const does = (act: string): void => void acts.set(act, (acts.get(act) ?? 0) + 1);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (dice.chance(5)) {
      does("refuses");
      return stream.close(NGHTTP2_REFUSED_STREAM);
    }
    const id = Number(headers["x-id"]);
    times.set(id, (times.get(id) ?? 0) + 1);
    stream.resume();
    stream.on("end", () => {
      if (stream.destroyed) return;
      const { session } = stream;
      if (isBrokenOff(id)) return stream.close(NGHTTP2_INTERNAL_ERROR);
      if (manners === "resets connections" && dice.chance(2)) {
        does("resets");
        return session?.destroy();
      }
      stream.respond({ ":status": 200 });
      stream.end(`done ${id}`);
      if (!dice.chance(3)) return;
      does("says goaway");
      session?.close();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as net.AddressInfo).port, times, acts };
}

/** Each POST once, whatever becomes of it. Those that were not answered with their own answer. */
async function all(t: TestContext, port: number): Promise<Set<number>> {
  const failed = new Set<number>();
  const sessions = Array.from({ length: SESSIONS }, () => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on("error", () => {});
    t.after(() => session.destroy());
    return session;
  });
  let next = 0;
  const caller = async (session: http2.ClientHttp2Session): Promise<void> => {
    for (let id = next++; id < POSTS; id = next++) {
      const stream = session.request({ ":method": "POST", ":path": "/p", "x-id": `${id}` });
      const heard = response(stream);
      stream.end(`post ${id}`);
      const { status, body } = await heard;
      if (status === 200) assert.equal(String(body), `done ${id}`);
      else failed.add(id);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, nth) => caller(sessions[nth % SESSIONS] ?? assert.fail())));
  for (const session of sessions) session.close();
  return failed;
}

const again = ({ conn, generation, request }: TryFailed): Answer => ({
  ...{ type: "forward", conn, generation, request, target: "", origin: 1, asks: "any" },
});

/** What was sent is asked about as well, and not sent again. */
const served = (way: (typeof ways)[number], app: Origin): Served =>
  serves(
    way,
    [app.port],
    (event) => to(event, 1, { asks: "any" }),
    (event) => (event.isSent ? { ...refOf(event), type: "pass", request: event.request } : again(event)),
  );

for (const way of ways)
  for (const manners of ["says what it has processed", "resets connections"] as const)
    test(`${way}: no POST is processed twice by an origin that ${manners} (seed ${seed})`, async (t) => {
      const app = await origin(t, new Dice(seed), manners);
      using under = served(way, app);
      const failed = await all(t, under.port);
      t.diagnostic(`${failed.size} of ${POSTS} failed; ${JSON.stringify(Object.fromEntries(app.acts))}`);
      assert.deepEqual(
        [...app.times].filter(([, times]) => times > 1),
        [],
        `seed ${seed}`,
      );
      for (let id = 0; id < POSTS; id += 1) {
        if (isBrokenOff(id)) assert.ok(failed.has(id), `${id} was broken off and reported as done`);
        else if (manners === "says what it has processed") assert.ok(!failed.has(id), `${id} failed; seed ${seed}`);
        assert.ok(failed.has(id) || app.times.get(id) === 1, `${id} was lost; seed ${seed}`);
      }
      for (const act of ["refuses", "says goaway", ...(manners === "resets connections" ? ["resets"] : [])])
        assert.ok((app.acts.get(act) ?? 0) > 2, `the origin hardly ever ${act}: ${app.acts.get(act)}`);
      assert.equal(endedOf(under).length, POSTS);
    });
