// 15 · main thread · what a kernel event is about, found again: most joined connections of a pod are like the one before, but for the
// caller's port. Pure but for what it remembers.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Workload } from "../mesh/workload.ts";
import { wholeRecord } from "../observe/alike.ts";
import { type DescribedEvent, describeEvent, type EventWorld } from "./event-records.ts";
import type { KernelEvent } from "./events.ts";

type Described = DescribedEvent & {
  readonly own: Workload | undefined;
  readonly source: string;
  readonly dialled: Endpoint;
  readonly to: Endpoint;
};

export class DescribedEvents {
  readonly #world: EventWorld;
  /** By pod: its latest joined connection. */
  #latest = new Map<number, Described>();

  constructor(world: EventWorld) {
    this.#world = world;
  }

  /** As `describeEvent`; of a joined connection the permission may name another port of the caller, which no rule sees. */
  of(event: KernelEvent): DescribedEvent {
    const { joined: to } = event;
    if (to === null) return describeEvent(event, this.#world);
    const { podIdx, source, destination: dialled } = event;
    const own = this.#world.workloadOf(podIdx);
    const known = this.#latest.get(podIdx);
    if (
      known !== undefined &&
      known.own === own &&
      known.source === source.address &&
      isSame(known.dialled, dialled) &&
      isSame(known.to, to)
    )
      return { record: wholeRecord(known.record, source.port, ""), permission: known.permission };
    const described = describeEvent(event, this.#world);
    this.#latest.set(podIdx, { ...described, own, source: source.address, dialled, to });
    return described;
  }

  /** The mesh has changed. */
  forget(): void {
    this.#latest = new Map();
  }
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}
