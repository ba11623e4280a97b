// bench · one event of the engine read out of the arena: the cheapest (accepted) and the one with most text (a CONNECT).
import * as abi from "../../agent/abi.ts";
import { EventReader } from "../../agent/engine/event-reader.ts";
import { writeIp } from "../../agent/mesh/ip.ts";
import { type Times, timeEach } from "./timing.ts";

const CALLS = 50_000;
const record = abi.orlopEngineEvent;
const authority = "10.90.2.11:8080";
const baggage = "k8s.cluster.name=box,k8s.namespace.name=bench,k8s.pod.name=client,service.name=client";

/** An arena whose first event is of this type, with these texts. */
export function arenaWith(type: number, texts: readonly string[]): ArrayBuffer {
  const arena = new ArrayBuffer(abi.ORLOP_ARENA_SIZE);
  const view = new DataView(arena);
  const bytes = Buffer.from(arena);
  const at = abi.ORLOP_ARENA_EVENTS;
  view.setUint32(at + record.type, type, true);
  for (const field of [record.near, record.target]) {
    writeIp("10.90.1.11", bytes, at + field + abi.orlopEndpoint.addr);
    view.setUint16(at + field + abi.orlopEndpoint.port, 40_000, true);
    view.setUint16(at + field + abi.orlopEndpoint.known, 1, true);
  }
  let offset = 0;
  for (const [which, text] of texts.entries()) {
    const span = at + record.text + which * abi.orlopSpan.size;
    view.setUint32(span + abi.orlopSpan.offset, offset, true);
    view.setUint32(span + abi.orlopSpan.length, text.length, true);
    offset += bytes.write(text, abi.ORLOP_ARENA_EVENT_TEXT + offset, "latin1");
  }
  return arena;
}

/** Reads the same event each time. */
export function decoders(): Readonly<Record<"accepted" | "connect", () => void>> {
  const decoder = (type: number, texts: readonly string[]): (() => void) => {
    const reader = new EventReader(arenaWith(type, texts));
    return () => void reader.read(0);
  };
  return {
    accepted: decoder(abi.eventTypes.accepted, []),
    connect: decoder(abi.eventTypes["connect-request"], [authority, baggage, "", ""]),
  };
}

export function decodeTimes(): { readonly accepted: Times; readonly connect: Times } {
  const timesOf = (step: () => void): Times => {
    for (let index = 0; index < CALLS; index++) step();
    return timeEach(CALLS, step);
  };
  const { accepted, connect } = decoders();
  return { accepted: timesOf(accepted), connect: timesOf(connect) };
}
