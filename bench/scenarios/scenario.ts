// bench · what a scenario is: one question, the figure that answers it, and two contestants to measure in turns.
import type { Contestant } from "../figures/pairs.ts";
import type { Better, Target } from "../figures/results.ts";
import { openOrlop } from "../sides/orlop.ts";
import { isPeer, peers } from "../sides/peers.ts";
import type { Route, Side } from "../sides/side.ts";
import type { World } from "../world/world.ts";

export type Settings = { readonly windowSeconds: number; readonly warmupSeconds: number; readonly seed: number };

export type Contest = {
  readonly ours: Contestant;
  readonly peer: Contestant;
  readonly versions: Readonly<Record<string, string>>;
  close(): Promise<void>;
};

export type Scenario = {
  readonly name: string;
  /** What the figure is, for people. */
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
  /** Key of the figure among those that a measurement gives. */
  readonly key: string;
  readonly defaultPeer: string;
  /** What the ratio to a peer should be, by peer. */
  readonly targets: Readonly<Record<string, Target>>;
  /** What Orlop's own figures should be at most, whatever the peer, by key. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Each measurement goes on where the one before ended: only the last pair is the figure. */
  readonly addsUp?: true;
  /** Exactly so many, however late it is: for measurements that add up, or take long. */
  readonly pairs?: number;
  /** Scenarios of the same series read different figures of the same measurements. */
  readonly series: string;
  open(world: World, peer: string, settings: Settings): Promise<Contest>;
};

/** Bad usage, not a failed measurement. */
export class UsageError extends Error {}

export const unknownPeer = (peer: string, known: readonly string[]): UsageError =>
  new UsageError(`no peer "${peer}" in this scenario; there are: ${known.join(" ")}`);

/** What measuring a side is. May prepare; `peer` is the other side, or for the peer itself. */
export type MeasureSide = (
  side: Side,
  settings: Settings,
  peer: Side,
) => Contestant["measure"] | Promise<Contestant["measure"]>;

/** Orlop against a peer on the same route. */
export function sideBySide(route: Route, measureOf: MeasureSide): Scenario["open"] {
  return async (world, peerName, settings) => {
    if (!isPeer(peerName)) throw unknownPeer(peerName, Object.keys(peers));
    const peer = await peers[peerName](world, route);
    try {
      const ours = await openOrlop(world, route);
      return {
        ours: { name: ours.name, measure: await measureOf(ours, settings, peer) },
        peer: { name: peer.name, measure: await measureOf(peer, settings, peer) },
        versions: { [ours.name]: ours.version, [peer.name]: peer.version },
        close: async () => {
          await ours.stop();
          await peer.stop();
        },
      };
    } catch (error) {
      await peer.stop();
      throw error;
    }
  };
}
