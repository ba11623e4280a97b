// tests · an application of HTTP/2 that answers before it has read the request, and reads it late or never: its stream ends when nobody is left who
// has to do with it, at the caller's node and at the callee's.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import type http2 from "node:http2";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { END_HEADERS, END_STREAM, frame, frameTypes, u32 } from "../support/h2-frames.ts";
import { h2cApplication, h2cCaller, type OnStream } from "./h2c.ts";
import { serves, to } from "./origin-engine.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { forward, reads } from "./read-engine.ts";
import type { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
/** More than an application's window, and no more than the engine and the windows of its caller take. */
const BODY = 150_000;
const CANCEL = 8;

type Under = { readonly port: number; readonly engine: TestEngine } & Disposable;
/** The callee's node reads the connection to a pod; the caller's node serves its pod's connection. */
const roles: Readonly<Record<string, (app: number) => Under>> = {
  "callee, plaintext": (app) => reads("plaintext", app, forward),
  "callee, tunnel": (app) => reads("tunnel", app, forward),
  "caller, direct": (app) => serves("direct", [app], (event) => to(event, 1)),
  "caller, tunnel": (app) => serves("tunnel", [app], (event) => to(event, 1)),
};

const endsOf = ({ engine }: Under): string[] =>
  engine.events
    .filter((event): event is RequestEnded => event.type === "request-ended")
    .map(({ outcome, status }) => `${outcome} ${status}`);
const askedOf = ({ engine }: Under): number => engine.events.filter(({ type }) => type === "request").length;
const bytesOf = ({ engine }: Under): number => engine.engine.stats().bufferBytes;

/** Answers, and takes no more than the first piece of the request. node:http2 stops a caller of whom it has read nothing. */
function early(codes: number[]): OnStream {
  return (stream) => {
    stream.once("data", () => stream.pause());
    stream.on("close", () => codes.push(stream.rstCode ?? 0));
    stream.respond({ ":status": 200 });
    stream.end("early");
  };
}

function post(session: http2.ClientHttp2Session, bytes: number): http2.ClientHttp2Stream {
  const stream = session.request({ ":method": "POST", ":path": "/" }, { endStream: false });
  stream.on("error", () => {});
  stream.resume();
  if (bytes > 0) stream.write(Buffer.alloc(bytes));
  return stream;
}

for (const [role, under] of Object.entries(roles)) {
  test(`${role}: the application is reset as soon as the caller, who has all of the answer, has gone`, async () => {
    const codes: number[] = [];
    const app = await h2cApplication(early(codes));
    using engine = under(app.port);
    using caller = h2cCaller(engine.port);
    for (const nth of [1, 2]) {
      const stream = post(caller.session, BODY);
      stream.end();
      await once(stream, "close");
      assert.deepEqual([stream.rstCode, codes.length], [0, 0], `request ${nth}`);
    }
    caller.session.destroy();
    await until(() => codes.length === 2 && endsOf(engine).length === 2);
    assert.deepEqual(codes, [CANCEL, CANCEL]);
    // The caller has got all that it asked for.
    assert.deepEqual(endsOf(engine), ["answered 200", "answered 200"]);
    await until(() => bytesOf(engine) === 0);
  });

  test(`${role}: a caller that breaks off its request behind the answer takes it from the application`, async () => {
    const codes: number[] = [];
    const app = await h2cApplication((stream) => {
      stream.resume();
      stream.on("close", () => codes.push(stream.rstCode ?? 0));
      stream.respond({ ":status": 200 });
      stream.end("early");
    });
    using engine = under(app.port);
    const caller = await RawCaller.open(engine.port);
    caller.socket.write(frame(frameTypes.headers, END_HEADERS, 1, headOf({ ":method": "POST" })));
    await caller.frame(
      ({ type, flags, stream }) => type === frameTypes.data && (flags & END_STREAM) !== 0 && stream === 1,
    );
    caller.socket.write(frame(frameTypes.rstStream, 0, 1, u32(0)));
    await until(() => codes.length === 1 && endsOf(engine).length === 1);
    assert.deepEqual([codes, endsOf(engine)], [[CANCEL], ["answered 200"]]);
    caller.socket.destroy();
  });

  test(`${role}: an application that reads late gets the whole request, although its caller has the answer`, async () => {
    let [got, isWhole] = [0, false];
    const app = await h2cApplication((stream) => {
      stream.once("data", (chunk: Buffer) => {
        got += chunk.length;
        stream.pause();
        stream.on("data", (more: Buffer) => {
          got += more.length;
        });
        setTimeout(() => stream.resume(), 300);
      });
      stream.on("end", () => {
        isWhole = true;
      });
      stream.respond({ ":status": 200 });
      stream.end("early");
    });
    using engine = under(app.port);
    using caller = h2cCaller(engine.port);
    const stream = post(caller.session, BODY);
    stream.end();
    await once(stream, "close");
    await until(() => isWhole);
    assert.equal(got, BODY);
    await until(() => endsOf(engine).length === 1);
    assert.deepEqual(endsOf(engine), ["answered 200"]);
  });

  test(`${role}: callers that leave at random, of applications that read or do not: each request ends once, and nothing stays (seed ${seed})`, async () => {
    const dice = new Dice(seed);
    const codes: number[] = [];
    const isRead: boolean[] = [];
    const app = await h2cApplication((stream) => {
      if (isRead.pop() === true) stream.resume();
      else stream.once("data", () => stream.pause());
      stream.on("close", () => codes.push(stream.rstCode ?? 0));
      setTimeout(() => {
        if (stream.closed) return;
        stream.respond({ ":status": 200 });
        stream.end("early");
      }, dice.roll(4));
    });
    using engine = under(app.port);
    const ROUNDS = 12;
    let answered = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      using caller = h2cCaller(engine.port);
      isRead.push(dice.roll(2) === 0);
      const stream = post(caller.session, 1 + dice.roll(BODY));
      if (dice.roll(3) > 0) stream.end();
      if (dice.roll(3) > 0) {
        await once(stream, "response");
        answered += 1;
      }
      await sleep(dice.roll(10));
      if (dice.roll(3) === 0) stream.close(CANCEL);
      await sleep(dice.roll(3));
      caller.session.destroy();
      await until(
        () => endsOf(engine).length === askedOf(engine) && bytesOf(engine) === 0,
        `seed ${seed} round ${round}`,
      );
    }
    // The last may have been read since.
    await until(() => endsOf(engine).length === askedOf(engine), `seed ${seed}`);
    const asked = askedOf(engine);
    // A caller that does not wait for an answer may have gone before its request came.
    assert.ok(asked >= answered && codes.length <= asked, `seed ${seed}: ${asked} asked, ${answered} answered`);
  });
}

// All at once: what is given up waits some time before.
test("what an application never reads is given up, and the caller's connection goes on", async () => {
  const givesUp = async (under: (app: number) => Under): Promise<void> => {
    const codes: number[] = [];
    const app = await h2cApplication(early(codes));
    using engine = under(app.port);
    using caller = h2cCaller(engine.port);
    const stream = post(caller.session, BODY);
    stream.end();
    await once(stream, "close");
    await until(() => codes.length === 1 && endsOf(engine).length === 1);
    assert.deepEqual([codes, endsOf(engine)], [[CANCEL], ["answered 200"]]);
    await until(() => bytesOf(engine) === 0);
    const [response] = (await once(post(caller.session, 0).end(), "response")) as [http2.IncomingHttpHeaders];
    assert.equal(response[":status"], 200);
  };
  await Promise.all(Object.values(roles).map(givesUp));
});
