// tests · attacks on the numbers of origins: a request that was judged for a way goes by no other, whatever becomes of the way's number.
import assert from "node:assert/strict";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer } from "../../agent/engine/answers.ts";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { Origins } from "../../agent/traffic/origins.ts";
import { ask as askHttp2, h2cApplication, h2cCaller } from "./h2c.ts";
import { refOf } from "./hbone-pair.ts";
import { endedOf, to } from "./origin-engine.ts";
import { dial, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

/** Pod 1 is served at `port`; a request goes to the application that its path begins with, by numbers as the agent gives them. */
function served(appPorts: Readonly<Record<string, number>>, limit?: number) {
  const wayTo = (app: string) =>
    ({ type: "relay", to: { address: "127.0.0.1", port: appPorts[app] ?? assert.fail(app) } }) as const;
  const forward = (event: RequestEvent, app: string): Answer =>
    to(event, origins.numberOf(1, wayTo(app)), { asks: "unsent" });
  const engine = new TestEngine((event) => {
    if (event.type === "accepted") return { ...refOf(event), type: "serve" };
    if (event.type === "request") return forward(event, event.target.split("/")[1] ?? "");
    if (event.type === "try-failed") return { ...refOf(event), type: "pass", request: event.request };
    return undefined;
  });
  const origins = new Origins(
    {
      define: (origin) => engine.engine.defineOrigin(origin),
      drop: (origin) => engine.engine.dropOrigin(origin),
    },
    limit,
  );
  engine.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  return { engine, origins, port: engine.listen(1, "outbound"), [Symbol.dispose]: () => engine[Symbol.dispose]() };
}

test("a request whose way has gone is not sent again by the way that came after it", async () => {
  const heldBy: net.Socket[] = [];
  const accomplice = await serve((socket) => {
    socket.on("data", (data) => {
      if (data.includes("/secret")) heldBy.push(socket);
      else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
  });
  const heard: string[] = [];
  const victim = await serve((socket) => {
    socket.on("data", (data) => {
      heard.push(data.toString("latin1").split(" ")[1] ?? "");
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
  });
  using under = served({ a: accomplice.port, b: victim.port });
  const caller = await dial(under.port);
  const asks = async (socket: net.Socket, path: string): Promise<string> => {
    const answer = once(socket, "data") as Promise<[Buffer]>;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    return (await answer)[0].toString().slice(0, 12);
  };
  // A connection that has carried a request may be stale: what is lost on it is sent again.
  await asks(caller, "/a/first");
  const secret = asks(caller, "/a/secret");
  while (heldBy.length === 0) await sleep(2);
  // The accomplice's pod leaves the mesh, and the caller's next way gets the number that is free.
  under.origins.dropPod(1);
  const other = await dial(under.port);
  assert.match(await asks(other, "/b/public"), /200$/);
  for (const socket of heldBy) socket.destroy();
  assert.match(await secret, /50[0-9]$/);
  assert.deepEqual(heard, ["/b/public"]);
  for (const each of [accomplice, victim]) each.close();
});

test("of requests that come at once none goes by the way for which its own was forgotten", async () => {
  const heard: Record<string, string[]> = { a: [], b: [], c: [] };
  const apps = Object.keys(heard).map(async (name) => {
    const app = await h2cApplication((stream, headers) => {
      heard[name]?.push(String(headers[":path"]));
      stream.respond({ ":status": 200 });
      stream.end();
    });
    return [name, app.port] as const;
  });
  using under = served(Object.fromEntries(await Promise.all(apps)), 1);
  using caller = h2cCaller(under.port);
  await once(caller.session, "connect");
  const paths = Array.from({ length: 90 }, (_, index) => `/${"abc"[index % 3]}/${index}`);
  await Promise.all(paths.map((path) => askHttp2(caller.session, { headers: { ":path": path } })));
  for (const [name, came] of Object.entries(heard))
    assert.deepEqual(
      came.filter((path) => !path.startsWith(`/${name}/`)),
      [],
    );
  await until(() => endedOf({ engine: under.engine } as never).length === 90);
});
