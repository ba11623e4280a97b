// Requests of a route when something fails, or is made to fail: endpoints that nobody serves, answers that a rule has tried again, sessions,
// faults of a rule, and a node without an agent.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type AccessEntry, accessLog, until } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import { wireAddresses } from "../box/network.ts";
import { orlopOn, serve, supportProgram, whileAgentHangs } from "../support/journey-acts.ts";
import { addressesOf, called, HTTP, RoutedJourney, type Said } from "../support/routed-journey.ts";

const rules = `    - name: plain
      matches: [{path: {value: /who}}]
      backendRefs: [{name: far, port: 80}]
    - name: shared
      matches: [{path: {value: /shared}}]
      filters: [{type: CORS, cors: {allowOrigins: ["https://*.example"], allowMethods: [PUT], allowHeaders: [x-a]}}]
      backendRefs: [{name: far, port: 80}]
    - name: some
      matches: [{path: {value: /some}}]
      timeouts: {request: 10s}
      backendRefs: [{name: some, port: 80}]
    - name: flaky
      matches: [{path: {value: /flaky}}]
      retry: {codes: [503], attempts: 3, backoff: 1ms}
      backendRefs: [{name: far, port: 80}]
    - name: sticky
      matches: [{path: {value: /sticky}}]
      sessionPersistence: {sessionName: stick}
      backendRefs: [{name: far, port: 80}, {name: near, port: 80}]
`;

let journey: RoutedJourney;
/** The caller's. */
let node: Node;
before(async () => {
  journey = await RoutedJourney.start({ rules });
  node = journey.cluster.node("node-a");
});
after(() => journey?.close());

describe("a request of a route", { concurrency: 1 }, () => {
  test("an endpoint that nobody serves costs no request, of whatever method: another endpoint has it", async () => {
    for (const args of [[], ["-d", "body"], ["-T", "/etc/passwd", "-H", "Expect:"]]) {
      const answers = await journey.curl(
        Array.from({ length: 20 }, () => "/some"),
        args,
      );
      assert.deepEqual([...new Set(answers.map(({ status, said }) => `${status} ${said?.name}`))], ["200 far"]);
    }
    const attemptsOf = ({ attempts = "1" }: AccessEntry): number => Number(attempts);
    // Lines are written a moment after their requests.
    const tries = await until("records of all of them", 10_000, () => {
      const found = accessLog(node).filter(({ path }) => path === "/some");
      return found.length >= 60 ? found : undefined;
    });
    const most = Math.max(...tries.map(attemptsOf));
    assert.ok(most > 1 && most <= 3, `${most}`);
    assert.ok(
      tries.every((entry) => entry["dst.workload"] === "far"),
      JSON.stringify(tries),
    );
  });

  test("a tenth that fails is hidden by the rule's retry, but for methods that may not be repeated", async () => {
    const failed = async (path: string, args: readonly string[]): Promise<number> =>
      (
        await journey.curl(
          Array.from({ length: 100 }, () => path),
          args,
        )
      ).filter(({ status }) => status !== 200).length;
    assert.equal(await failed("/flaky", []), 0);
    assert.equal(await failed("/flaky/post", ["-d", "body"]), 10);
    const of = (path: string): readonly AccessEntry[] => accessLog(node).filter((each) => each.path === path);
    const all = ["/flaky", "/flaky/post"];
    await until("records of all of them", 10_000, () => all.every((path) => of(path).length >= 100) || undefined);
    const again = (path: string): number => of(path).filter(({ attempts }) => attempts === "2").length;
    // Of 111 answers the tenth, the twentieth and so on.
    assert.deepEqual([again("/flaky"), again("/flaky/post")], [11, 0]);
    const explained = await orlopOn(node, "explain", "demo/client", "demo/api:80", "--path", "/flaky");
    assert.match(explained, /tried up to 3 times more on 503 or without a response, after 1 ms or longer/);
  });

  test("a session stays with its endpoint: curl's own cookies, by the response's word", async () => {
    const names = new Set<string>();
    // Each of two endpoints has half of the callers: that a hundred have the same is no chance.
    for (let nth = 0; nth < 12 || (names.size < 2 && nth < 100); nth += 1) {
      // Each call of curl is a caller with a jar of its own.
      const jar = ["-b", `/tmp/orlop-none-${process.pid}`];
      const answers = await journey.curl(
        Array.from({ length: 8 }, (_, at) => `/sticky/${at}`),
        jar,
      );
      const of = new Set(answers.map(({ said }) => said?.name));
      assert.equal(of.size, 1, [...of].join());
      assert.match(
        answers[0]?.headers.get("set-cookie") ?? "",
        /^stick=[\w-]{22}; Path=\/sticky; HttpOnly; SameSite=Lax$/,
      );
      assert.ok(answers.slice(1).every(({ headers }) => !headers.has("set-cookie")));
      names.add(answers[0]?.said?.name ?? "");
    }
    assert.deepEqual(names, new Set(["far", "near"]));
  });

  test("a fault delays, answers and resets, until it expires; what a page of another origin gets of it, it may read", async () => {
    const soon = new Date(Date.now() + 600_000).toISOString();
    const delay = { fixed: "700ms" };
    await journey.write({ fault: { rule: "plain", delay, abort: { status: 418 }, expires: soon } });
    const timed = async (path: string): Promise<readonly [number, number]> => {
      const before = performance.now();
      return [(await journey.one(path)).status, performance.now() - before];
    };
    const [status, took] = await timed("/who");
    assert.ok(status === 418 && took >= 690, `${status} after ${took} ms`);
    assert.equal((await timed("/sticky"))[0], 200);
    await until("its flag", 10_000, () =>
      accessLog(node).find((line) => line.path === "/who" && line.response_flags === "DI,FI"),
    );
    // Of HTTP/2 requests wait and are answered alike.
    const http2 = [
      "curl",
      "-sS",
      "-m",
      "10",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code} %{time_total}",
      "--http2-prior-knowledge",
    ];
    const [code, seconds] = (
      await journey.pod("client").run([...http2, `http://${called.ip4}/who`], 20_000)
    ).stdout.split(" ");
    assert.ok(code === "418" && Number(seconds) >= 0.69, `${code} ${seconds}`);
    await journey.write({ fault: { rule: "shared", abort: { status: 503 }, expires: soon } });
    const shared = await journey.one("/shared", ["-H", "Origin: https://a.example"]);
    assert.deepEqual([shared.status, shared.headers.get("access-control-allow-origin")], [503, "https://a.example"]);
    await journey.write({ fault: { rule: "plain", reset: {}, expires: soon } });
    const reset = await journey.pod("client").run(["curl", "-sS", "-m", "10", `http://${called.ip4}/who`], 20_000);
    assert.deepEqual([reset.status, reset.stdout], [56, ""]);
    await journey.write({ fault: { reset: {}, expires: new Date(Date.now() - 1_000).toISOString() } });
    assert.equal((await journey.one("/who")).status, 200);
    await journey.write({});
  });
});

describe("while no agent lives", () => {
  test("a port with a route whose Service fails direct is reached past its routes, as the cluster sends what is for its address", async () => {
    // What a cluster's nodes do for a Service's address, the way through the nodes does here.
    const [a, b] = journey.cluster.nodes;
    const ways = [
      { host: journey.pod("far"), line: ["addr", "add", `${called.ip4}/32`, "dev", "lo"] },
      { host: b, line: ["route", "add", called.ip4, "via", journey.pod("far").ip4] },
      { host: a, line: ["route", "add", called.ip4, "via", wireAddresses(2).ip4] },
    ];
    for (const { host, line } of ways) assert.equal((await host?.run(["ip", ...line], 10_000))?.status, 0, `${line}`);
    const app = await serve(journey.pod("far"), supportProgram("echo-http"), 80, "past the routes");
    await journey.write({ failsDirect: true });
    assert.equal((await journey.one("/nothing")).status, 404);
    await whileAgentHangs(node, async () => {
      const answer = await until("an answer past the routes", 30_000, async () => {
        const ask = ["curl", "-sS", "-m", "2", `http://${called.ip4}/nothing`];
        const done = await journey.pod("client").run(ask, 10_000);
        return done.status === 0 ? (JSON.parse(done.stdout) as Said) : undefined;
      });
      const { ip4 } = journey.pod("client");
      assert.deepEqual([answer.name, answer.peer.replace("::ffff:", "")], ["past the routes", ip4]);
    });
    await app.stop();
    await until("an answer", 30_000, async () => ((await journey.one("/nothing")).status === 404 ? true : undefined));
    await journey.write({});
  });

  test("a port with a route refuses, and a pod's own address without a policy does not", async () => {
    /** What the kernel says of the call; empty: it is connected. */
    const dial = async (address: string, port: number): Promise<string> =>
      (await journey.pod("client").run(["timeout", "5", "bash", "-c", `exec 3<> /dev/tcp/${address}/${port}`], 10_000))
        .stderr;
    await whileAgentHangs(node, async () => {
      await until("a refusal", 30_000, async () =>
        (await dial(called.ip4, 80)).includes("Connection refused") ? true : undefined,
      );
      assert.equal(await dial(journey.pod("far").ip4, HTTP), "");
      // Of the same endpoints, without a route: it goes direct, where nobody has this address.
      const unrouted = await dial(addressesOf("far").ip4, 80);
      assert.doesNotMatch(unrouted, /Connection refused/);
      assert.notEqual(unrouted, "");
    });
    await until("an answer", 30_000, async () => ((await journey.one("/who")).status === 200 ? true : undefined));
  });
});
