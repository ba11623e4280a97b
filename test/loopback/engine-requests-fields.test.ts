// tests · rules read the fields and bodies that the application gets, written anew, and no others.
import assert from "node:assert/strict";
import http from "node:http";
import test from "node:test";
import { refOf } from "./hbone-pair.ts";
import { application, byPath, forward, reads, ways } from "./read-engine.ts";
import { ask, ended } from "./read-requests.ts";
import { dial, readAll, serve } from "./support.ts";

for (const way of ways) {
  test(`${way}: rules read no field that the application does not get, and the host that they read is the application's`, async () => {
    const app = await application((request, response) => response.end(JSON.stringify(request.headers)));
    const seen = new Map<string, readonly string[]>();
    using under = reads(way, app.port, (event) => {
      for (const name of ["x-tenant", "x_orlop_user", "proxy-connection", "x-seen"])
        seen.set(name, event.fields.values(name));
      return forward(event);
    });
    const socket = await dial(under.port);
    socket.write(
      "GET http://app/ HTTP/1.0\r\nConnection: x-tenant\r\nX-Tenant: a\r\nX_Orlop_User: b\r\nProxy-Connection: c\r\nX-Seen: d\r\n\r\n",
    );
    const answer = (await readAll(socket)).toString();
    const got = JSON.parse(answer.slice(answer.indexOf("{")));
    const [asked] = under.engine.events.filter((event) => event.type === "request");
    for (const name of ["x-tenant", "x_orlop_user", "proxy-connection"])
      assert.deepEqual([got[name], seen.get(name)], [undefined, []], name);
    assert.deepEqual([got["x-seen"], seen.get("x-seen")], ["d", ["d"]]);
    assert.deepEqual([asked?.authority, got.host], ["app", "app"]);
  });

  test(`${way}: other proxies' fields are taken out where the answer says so`, async () => {
    const app = await application((request, response) => response.end(JSON.stringify(request.headers)));
    using under = reads(way, app.port, (event) => {
      const removesProxyHeaders = event.target === "/without";
      return { ...refOf(event), type: "forward", request: event.request, target: "", removesProxyHeaders };
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const headers = { "x-envoy-a": "1", x_forwarded_client_cert: "2", "x.envoy~b": "3", "x-forwarded-for": "4" };
    const got = async (path: string): Promise<unknown[]> => {
      const all = JSON.parse(String((await ask(under.port, { agent, path, headers })).body));
      return Object.keys(headers).map((name) => all[name]);
    };
    assert.deepEqual(await got("/with"), ["1", "2", "3", "4"]);
    assert.deepEqual(await got("/without"), [undefined, undefined, undefined, "4"]);
    agent.destroy();
  });

  test(`${way}: rules read fields that are written anew as the application gets them`, async () => {
    const names = ["upgrade", "te", "content-length", "transfer-encoding", "host"];
    const app = await application((request, response) => {
      request
        .resume()
        .on("end", () => response.end(JSON.stringify(names.map((name) => request.headers[name] ?? null))));
    });
    const seen: unknown[] = [];
    using under = reads(way, app.port, (event) => {
      seen.push(names.map((name) => event.fields.values(name).join("|") || null));
      return forward(event);
    });
    for (const text of [
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0004\r\n\r\nbody",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
      "GET http://b/ HTTP/1.0\r\n\r\n",
    ]) {
      const socket = await dial(under.port);
      let answer = "";
      const answered = new Promise<void>((resolve) => {
        socket.on("data", (data) => {
          answer += data;
          if (answer.includes("]")) resolve();
        });
      });
      socket.write(text);
      await answered;
      const got: unknown = JSON.parse(answer.slice(answer.indexOf("["), answer.indexOf("]") + 1));
      assert.deepEqual(seen.at(-1), got, text);
      socket.destroy();
    }
  });

  test(`${way}: a policy that only watches lets wrong chunks and wrong trailers pass as they came`, async () => {
    for (const wrong of ["g\r\nabc\r\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n"]) {
      const app = await serve((socket) => {
        const got: Buffer[] = [];
        socket.on("data", (data) => got.push(data));
        socket.on("end", () => socket.end(`HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n${Buffer.concat(got)}`));
      });
      using under = reads(way, app.port, byPath, "or-pass");
      const socket = await dial(under.port);
      const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
      socket.end(`${head}3\r\nabc\r\n${wrong}`);
      assert.match((await readAll(socket)).toString(), new RegExp(`3\r\nabc\r\n${wrong}$`));
      await under.engine.event("opaque");
      assert.equal(ended(under)[0]?.outcome, "refused");
      app.close();
    }
  });
}
