// bench · the pure hot paths at 100,000 of something, against themselves at ten: what grows with the mesh must not grow here.
import { version } from "../../agent/process/version.ts";
import type { Figures } from "../figures/pairs.ts";
import { decider } from "../micro/decide.ts";
import { bySegments, requestDecider } from "../micro/l7-decision.ts";
import { routerOfServices, routerOfWorkloads } from "../micro/route.ts";
import type { Times } from "../micro/timing.ts";
import { updater } from "../micro/update.ts";
import { type Contest, type Scenario, type Settings, unknownPeer } from "./scenario.ts";

const MANY = 100_000;
const FEW = 10;
const RULES = 1_000;
/** The peer's name: ourselves, with few. */
const SELF = `orlop-${FEW}`;

type Sized = { measure(): Times; readonly heapMb?: number };

const atSizes =
  (make: (size: number, seed: number) => Sized, most = MANY) =>
  async (_world: unknown, peer: string, { seed }: Settings): Promise<Contest> => {
    if (peer !== SELF) throw unknownPeer(peer, [SELF]);
    const few = make(FEW, seed);
    const many = make(most, seed);
    const figures = (sized: Sized): Figures => ({
      ...sized.measure(),
      ...(sized.heapMb === undefined ? {} : { heapMb: sized.heapMb }),
    });
    return {
      ours: { name: "orlop", measure: async () => figures(many) },
      peer: { name: SELF, measure: async () => figures(few) },
      versions: { orlop: `Orlop ${version}, Node ${process.version}` },
      close: async () => {},
    };
  };

const times = { unit: "µs", better: "less", key: "p50Us", defaultPeer: SELF } as const;

export const pureScenarios: readonly Scenario[] = [
  {
    name: "policies-100k",
    figure: `one L4 decision with ${MANY} policies in the mesh, p50, against ${FEW}`,
    ...times,
    targets: { [SELF]: { atMost: 1.5 } },
    limits: { p50Us: 1, p99Us: 10 },
    series: "policies",
    open: atSizes(decider),
  },
  {
    name: "workloads-100k",
    figure: `one outbound plan (Service, endpoint, tunnel) with ${MANY} workloads in the mesh, p50, against ${FEW}`,
    ...times,
    targets: {},
    series: "workloads",
    open: atSizes(routerOfWorkloads),
  },
  {
    name: "services-100k",
    figure: `one outbound plan with ${MANY} Services over 10000 workloads in the mesh, p50, against ${FEW}`,
    ...times,
    targets: {},
    series: "services",
    open: atSizes(routerOfServices),
  },
  {
    name: "update-100k",
    figure: `one endpoint changes among ${MANY} workloads: store and endpoint list, p50, against ${FEW}`,
    ...times,
    targets: {},
    limits: { p50Us: 500, p99Us: 10_000 },
    series: "updates",
    open: atSizes(updater),
  },
  {
    name: "l7-decision",
    figure: `one request judged by ${RULES} rules with method, path and host, p50, against ${FEW}`,
    ...times,
    targets: {},
    limits: { p50Us: 1.5 },
    series: "requests",
    open: atSizes((rules, seed) => requestDecider(bySegments, rules, seed), RULES),
  },
];
