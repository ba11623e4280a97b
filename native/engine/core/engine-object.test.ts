// The calls of engine.node: a wrong argument is refused with its position, and nothing is done with the rest.
import assert from "node:assert/strict";
import { fstatSync } from "node:fs";
import { test } from "node:test";
import {
  duplicate,
  installIdentity,
  listenSocket,
  NativeEngine,
  peerCredentials,
  unconnectedSocket,
} from "../../../agent/engine/addon.ts";

const wrong = (value: unknown): never => value as never;

test("an engine refuses arguments of another type or range", () => {
  assert.throws(() => new NativeEngine(wrong(3)), /argument 0 must be a function/);
  const engine = new NativeEngine(() => 0);
  try {
    assert.throws(() => engine.setPod(wrong("1"), 1n, 0), /argument 0 must be a whole number/);
    assert.throws(() => engine.setPod(1, wrong(1), 0), /argument 1 must be a BigInt/);
    assert.throws(() => engine.setPod(1, 2n ** 64n, 0), /argument 1 must be a BigInt/);
    assert.throws(() => engine.setPod(1, 1n, 2 ** 31), /argument 2 must be a whole number/);
    assert.throws(() => engine.addSockets(1, 4, new Int32Array()), /argument 1 must be a whole number of 0 to 3/);
    assert.throws(() => engine.addSockets(1, 0, wrong([1])), /argument 2 must be an Int32Array/);
    assert.throws(() => engine.removePod(1, wrong(undefined)), /argument 1 must be a boolean/);
    assert.throws(() => engine.setFlowMap(-1), /argument 0 must be a whole number/);
    assert.throws(() => engine.counters(wrong(undefined), 1), /argument 0 must be a whole number/);
    assert.throws(() => engine.setBufferBudget(2 ** 32), /argument 0 must be a whole number/);
    assert.throws(() => engine.setPodLimits(1, -1), /argument 1 must be a whole number/);
    assert.throws(() => engine.setTunnelTimes(1, wrong("2"), 3), /argument 1 must be a whole number/);
    assert.throws(() => engine.retireTunnels(1.5), /argument 0 must be a whole number/);
  } finally {
    engine.close();
  }
  // After close() calls do nothing, but a wrong argument is a fault of the caller still.
  engine.retireTunnels(1);
  assert.throws(() => engine.retireTunnels(1.5), /argument 0 must be a whole number/);
});

test("a listener and sockets are the engine's, also when another argument is wrong", () => {
  const engine = new NativeEngine(() => 0);
  try {
    const { fd } = listenSocket("127.0.0.1", 0);
    assert.throws(() => engine.addListener(1, 9, fd), /argument 1 must be a whole number of 0 to 2/);
    assert.throws(() => fstatSync(fd), { code: "EBADF" });
    const socket = unconnectedSocket(4);
    assert.throws(() => engine.addSockets(wrong(-1), 0, Int32Array.of(socket)), /argument 0 must be a whole number/);
    assert.throws(() => fstatSync(socket), { code: "EBADF" });
  } finally {
    engine.close();
  }
});

test("functions beside the engine refuse them, too", () => {
  assert.throws(() => installIdentity(wrong("1"), "", new Uint8Array()), /argument 0 must be a whole number/);
  assert.throws(() => installIdentity(1, "", wrong("key")), /argument 2 must be a Uint8Array/);
  assert.throws(() => listenSocket(wrong(1), 0), /argument 0 must be a string/);
  assert.throws(() => listenSocket("127.0.0.1", 65_536), /argument 1 must be a whole number/);
  assert.throws(() => unconnectedSocket(wrong(7)), /argument 0 must be a whole number of 4 to 6/);
  assert.throws(() => duplicate(-1), /argument 0 must be a whole number/);
  assert.throws(() => peerCredentials(wrong(undefined)), /argument 0 must be a whole number/);
});
