// The lender on a real socket: any bytes and descriptors from one peer do not disturb a second, well-behaved peer.
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { until } from "../../test/support/until.ts";
import { fdChannel } from "../engine/keeper-channel.ts";
import { KeeperClient } from "../engine/keeper-client.ts";
import { FdSocket } from "./addon.ts";
import { Lender, type ReplyWithFds, serveOn } from "./lend.ts";
import { keeperPlace, peerPlace } from "./peer-place.ts";
import { LENT_MAPS, PROTOCOL_VERSION, type Request } from "./protocol.ts";

const scratch = mkdtempSync(join(tmpdir(), "orlop-lend-"));
after(() => rmSync(scratch, { recursive: true }));
const someFd = (): number => openSync("/dev/null", "r");
const nothing = (): void => {};
const place = keeperPlace(scratch);
const lender = new Lender({
  agentUid: 61008,
  placeOf: (pid) => peerPlace(place, pid),
  gone: () => {},
  log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
  handle: async (request: Request): Promise<ReplyWithFds> => {
    const { id } = request;
    if (request.op === "hello") {
      const fds = LENT_MAPS.map(someFd);
      return {
        reply: { id, op: "welcome", version: PROTOCOL_VERSION, role: "holding", pods: [] },
        fds,
        handedOver: true,
      };
    }
    if (request.op === "sockets") {
      const fds = Array.from({ length: request.count }, someFd);
      return { reply: { id, op: "sockets", podIdx: request.podIdx, kind: request.kind }, fds, handedOver: true };
    }
    return { reply: { id, op: "done" } };
  },
});
const path = join(scratch, "keeper.sock");
const server = FdSocket.listen(path, 0o660);
serveOn(server, lender);
after(() => {
  lender.close();
  server.close();
});

function startClient(): Promise<KeeperClient> {
  return new Promise((resolve) => {
    const client = new KeeperClient({ path, node: "n", connect: fdChannel(FdSocket), role: () => "new" });
    client.start({
      onWelcome: ({ maps }) => {
        for (const fd of Object.values(maps)) closeSync(fd);
        resolve(client);
      },
      onLost: (why) => assert.fail(`the bystander lost its keeper: ${why}`),
      onPodGuarded: () => {},
      onPodFound: () => {},
      onPodStarting: () => {},
      onPodGone: nothing,
      onYield: nothing,
      onVacant: nothing,
      onSettled: nothing,
      onReread: nothing,
    });
  });
}

const descriptors = (): number => readdirSync("/proc/self/fd").length;

/** Until so many agents are there, and no more descriptors than `most`, since what the others had is closed; how many. A leak is what it waits for in vain. */
async function settled(agents: number, most = Number.POSITIVE_INFINITY): Promise<number> {
  const what = `${agents} agents, and ${most} descriptors at most`;
  await until(() => lender.agents === agents && descriptors() <= most, {
    what,
    seen: () => [lender.agents, descriptors()],
  });
  return descriptors();
}

test("the socket file is nobody else's from its first moment", () => {
  assert.equal(statSync(path).mode & 0o777, 0o660);
});

test("tens of thousands of descriptors, asked for faster than they are read, all arrive", async () => {
  const client = await startClient();
  const before = await settled(1);
  for (let turn = 0; turn < 30; turn++) {
    const lots = await Promise.all(
      Array.from({ length: 20 }, () => client.sockets({ podIdx: 1, uid: "p" }, "out4", 64)),
    );
    for (const fds of lots) {
      assert.equal(fds.length, 64);
      for (const fd of fds) closeSync(fd);
    }
  }
  await settled(1, before);
  client.close();
  await settled(0);
});

test("any bytes, any descriptors: the sender loses its connection, the bystander nothing", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const bystander = await startClient();
  const before = await settled(1);
  const hello = Buffer.from(JSON.stringify({ id: 1, op: "hello", version: PROTOCOL_VERSION, node: "n", role: "new" }));
  const ask = Buffer.from(JSON.stringify({ id: 2, op: "sockets", podIdx: 1, uid: "p", kind: "out4", count: 5 }));
  const bytes = fc.oneof(
    fc.constant(hello),
    fc.constant(ask),
    fc.uint8Array({ minLength: 1, maxLength: 200 }),
    fc.integer({ min: 65_000, max: 65_536 }).map((size) => Buffer.alloc(size, "{")),
    fc.tuple(fc.constantFrom(hello, ask), fc.nat({ max: 40 }), fc.nat({ max: 255 })).map(([base, at, byte]) => {
      const broken = Buffer.from(base);
      broken[at % broken.length] = byte;
      return broken;
    }),
  );
  const packet = fc.record({ bytes, fds: fc.constantFrom(0, 0, 0, 0, 1, 64) });
  await fc.assert(
    fc.asyncProperty(fc.array(packet, { maxLength: 8 }), async (packets) => {
      const attacker = FdSocket.connect(path);
      let closed = false;
      attacker.onClose(() => {
        closed = true;
      });
      attacker.onMessage((_bytes, fds) => {
        for (const fd of fds) closeSync(fd);
      });
      for (const { bytes: sent, fds } of packets) {
        if (closed) break;
        const given = Array.from({ length: fds }, someFd);
        try {
          attacker.send(sent, Int32Array.from(given));
        } catch {
          break; // EPIPE: it was cut off already.
        } finally {
          for (const fd of given) closeSync(fd);
        }
      }
      await bystander.release({ podIdx: 1, uid: "p" });
      attacker.close();
    }),
    { seed, numRuns: 200 },
  );
  await settled(1, before);
  bystander.close();
  await settled(0);
});
