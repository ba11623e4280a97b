import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createCipheriv, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { freePorts } from "../../test/cluster/free-ports.ts";
import { sealingRelay } from "../sides/direct.ts";
import { ownProgram } from "../world/programs.ts";
import { figuresOf } from "./load.ts";

const run = promisify(execFile);
const children: ChildProcess[] = [];
let sink = "";
let relay = "";
let echo = "";

async function start(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const { stdout } = child;
  assert.ok(stdout);
  assert.equal(String((await once(stdout, "data"))[0]), "ready\n");
}

before(async () => {
  [sink = "", relay = "", echo = ""] = (await freePorts(3)).map(String);
  await start(ownProgram("load"), ["serve", "127.0.0.1", sink]);
  await start(ownProgram("relay"), ["127.0.0.1", relay, "127.0.0.1", sink]);
  await start(ownProgram("calls"), ["serve", "127.0.0.1", echo]);
});
after(() => {
  for (const child of children) child.kill();
});

type Result = {
  errors: number;
  bytes: number;
  total: number;
  requests: number;
  p50_us: number;
  connect_p50_us: number;
  cpu_ns: number[];
};
async function load(mode: string, port: string, seconds: number, ...more: string[]): Promise<Result> {
  const args = [mode, "127.0.0.1", port, "--seconds", String(seconds), "--warmup", "0.05", ...more];
  return figuresOfRun("load", args);
}

/** Where a run measured nothing, or its bytes were wrong at the end, the program fails and writes its figures all the same. */
async function figuresOfRun(program: Parameters<typeof ownProgram>[0], args: readonly string[]): Promise<Result> {
  const { stdout } = await run(ownProgram(program), args, { timeout: 60_000 }).catch((error: unknown) => {
    const ended = error as { readonly stdout: string; readonly stderr: string };
    if (ended.stderr !== "" || ended.stdout === "") throw error;
    return ended;
  });
  return JSON.parse(stdout) as Result;
}

/** On a busy machine a short run may get too few turns for what it is to meet: it is made again for twice as long, up to 13 s. */
async function longEnough(what: string, met: (seconds: number) => Promise<boolean>): Promise<void> {
  for (let seconds = 0.2; seconds < 13; seconds *= 2) if (await met(seconds)) return;
  assert.fail(`no run was long enough: ${what}`);
}

/** A run of a length that is enough finds what is wrong. */
function fails(what: string, attempt: (seconds: number) => Promise<Result>): Promise<void> {
  return longEnough(`${what} fails`, async (seconds) => {
    try {
      return (await attempt(seconds)).errors > 0;
    } catch (error) {
      assert.ok(error instanceof Error && /Command failed/.test(error.message), what);
      assert.equal("killed" in error && error.killed, false, `${what}: it did not end`);
      return true;
    }
  });
}

test("every mode measures, directly and through the relay", async () => {
  for (const port of [sink, relay]) {
    for (const streams of ["1", "8"]) {
      await longEnough(`bytes on ${streams}`, async (seconds) => {
        const bulk = await load("bulk", port, seconds, "--connections", streams);
        assert.ok(bulk.errors === 0 && bulk.total >= bulk.bytes);
        return bulk.bytes > 0;
      });
    }
    for (const size of ["1", "1024", "1048573"])
      await longEnough(`requests of ${size}`, async (seconds) => {
        const { requests, p50_us: p50 } = await load("rr", port, seconds, "--connections", "3", "--size", size);
        return requests > 0 && p50 > 0;
      });
    for (const http of ["0", "1"])
      await longEnough(`paced requests, HTTP ${http}`, async (seconds) => {
        const paced = await load("paced", port, seconds, "--rate", "1000", "--connections", "4", "--http", http);
        assert.ok(paced.requests <= 1_000 * seconds + 50);
        return paced.requests > 0;
      });
    await longEnough(
      "requests of HTTP",
      async (seconds) => (await load("rr", port, seconds, "--connections", "3", "--http", "1")).requests > 0,
    );
    assert.equal((await load("churn", port, 0.2, "--connections", "4")).errors, 0);
    assert.equal((await load("connect", port, 0.2, "--rate", "500")).errors, 0);
    assert.equal((await load("connect", port, 0.2, "--rate", "500", "--phase", "0.5", "--spin", "1")).errors, 0);
    await longEnough("first requests", async (seconds) => {
      const first = await load("first", port, seconds, "--rate", "500");
      return first.connect_p50_us > 0 && first.p50_us > first.connect_p50_us;
    });
  }
});

test("the relay that seals passes on what came", async () => {
  const [port = ""] = (await freePorts(1)).map(String);
  await start(...sealingRelay(["127.0.0.1", port, "127.0.0.1", sink]));
  await longEnough("bytes through the relay that seals", async (seconds) => {
    const { errors, bytes } = await load("bulk", port, seconds);
    assert.equal(errors, 0);
    return bytes > 0;
  });
});

test("what the relay seals is AES-128-GCM of what it passes on", () => {
  const addon: { exports: { firstRecord?: (bytes: Buffer) => Buffer } } = { exports: {} };
  process.dlopen(addon, ownProgram("seal.node"));
  const bytes = randomBytes(5_000);
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(1n, 4);
  const cipher = createCipheriv("aes-128-gcm", "any other serves", nonce);
  cipher.setAAD(Buffer.from([23, 3, 3, 0x40, 0x11]));
  const expected = Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  assert.deepEqual(addon.exports.firstRecord?.(bytes), expected);
});

test("sinks that read nothing are found out, and afterwards get every byte", async () => {
  for (const port of [sink, relay]) {
    const { stdout } = await run(ownProgram("load"), [
      ...["stall", "127.0.0.1", port, "--connections", "3", "--seconds", "1.5", "--warmup", "0"],
    ]);
    const [ready, result] = stdout.trim().split("\n");
    assert.equal(ready, "ready");
    const { held, errors } = JSON.parse(result ?? "") as { held: number; errors: number };
    assert.ok(errors === 0 && held > 3 * 10_000, `${held} bytes held`);
  }
});

test("the CPU of watched processes is counted", async () => {
  const pid = String(children[1]?.pid);
  await longEnough("processor time of the relay", async (seconds) => {
    const { cpu_ns: cpu } = await load("bulk", relay, seconds, "--watch", pid);
    assert.equal(cpu.length, 1);
    return (cpu[0] ?? 0) > 0;
  });
});

/** A proxy that does one thing wrong, once, after `at` bytes in this direction. */
async function faulty(
  direction: "up" | "down",
  at: number,
  wrong: (data: Buffer) => Buffer,
  to = sink,
): Promise<string> {
  const server = createServer((client) => {
    const upstream = connect(Number(to), "127.0.0.1");
    for (const [from, to, way] of [
      [client, upstream, "up"],
      [upstream, client, "down"],
    ] as const) {
      let seen = 0;
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.on("data", (data: Buffer) => {
        const due = way === direction && seen <= at && seen + data.length > at;
        seen += data.length;
        to.write(due ? wrong(data) : data);
      });
    }
  });
  server.listen(0, "127.0.0.1");
  server.unref();
  await once(server, "listening");
  return String((server.address() as AddressInfo).port);
}

const flip = (data: Buffer): Buffer => {
  const wrong = Buffer.from(data);
  wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
  return wrong;
};
const lose = (data: Buffer): Buffer => data.subarray(0, -1);
const double = (data: Buffer): Buffer => Buffer.concat([data, data.subarray(-1)]);

test("one wrong, lost or doubled byte fails the run, in both directions", async () => {
  for (const wrong of [flip, lose, double]) {
    await fails(`bulk ${wrong.name}`, async (seconds) => load("bulk", await faulty("up", 100_000, wrong), seconds));
  }
  for (const direction of ["up", "down"] as const) {
    for (const wrong of [flip, double]) {
      await fails(`rr ${direction} ${wrong.name}`, async (seconds) =>
        load("rr", await faulty(direction, 5_000, wrong), seconds, "--size", "1024"),
      );
    }
  }
});

test("one wrong byte of an HTTP answer or one too many fails the run, and so does a byte between two requests", async () => {
  for (const [direction, wrong] of [
    ["down", flip],
    ["down", double],
    ["up", double],
  ] as const) {
    await fails(`HTTP ${direction} ${wrong.name}`, async (seconds) =>
      load("rr", await faulty(direction, 5_000, wrong), seconds, "--http", "1"),
    );
  }
});

async function streams(port: string, seconds: number, ...more: string[]): Promise<Result> {
  const args = ["127.0.0.1", port, "--seconds", String(seconds), "--warmup", "0.05", "--streams", "5", ...more];
  return figuresOfRun("calls", args);
}

test("streams of messages come back whole, of any size, and so many ahead as they may be", async () => {
  for (const more of [
    ["--connections", "3"],
    ["--size", "1", "--ahead", "7"],
    ["--size", "300000", "--ahead", "2"],
  ])
    await longEnough(more.join(" "), async (seconds) => (await streams(echo, seconds, ...more)).requests > 0);
});

test("one wrong or doubled byte of a stream fails the run, in both directions", async () => {
  for (const direction of ["up", "down"] as const) {
    for (const wrong of [flip, double]) {
      await fails(`stream ${direction} ${wrong.name}`, async (seconds) =>
        streams(await faulty(direction, 50_000, wrong, echo), seconds),
      );
    }
  }
});

test("figures are per byte and per request, and nothing measured is no figure", () => {
  const times = { errors: 0, cpu_ns: [600, 400], busy_ns: 3_000, own_ns: 1 };
  assert.deepEqual(figuresOf({ ...times, bytes: 500, gbps: 4 }), { gbps: 4, cpuNsPerByte: 2, machineNsPerByte: 6 });
  const latency = { rate: 10, p50_us: 1, p90_us: 2, p99_us: 3, p999_us: 4 };
  assert.deepEqual(figuresOf({ ...times, requests: 2, ...latency }), {
    ...{ rate: 10, p50Us: 1, p90Us: 2, p99Us: 3, p999Us: 4, cpuUsPerRequest: 0.5, machineUsPerRequest: 1.5 },
  });
  assert.throws(() => figuresOf({ ...times, bytes: 0, gbps: 0 }), /no byte arrived/);
  assert.throws(() => figuresOf({ ...times, requests: 0 }), /no request was answered/);
});
