// keeper · the eBPF programs: loaded, pinned under one directory per node and layout version, attached by links that
// outlive this process, swapped in place. Never detached and attached again: between the two a pod would be unguarded.
import { closeSync, existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { ORLOP_ABI_VERSION, orlopGate } from "../abi.ts";
import { cgroupReader, cgroupTexts } from "../process/cgroup-files.ts";
import { ownCgroup } from "../process/cgroup-tree.ts";
import type { KernelMap, Programs, ProgramsClass } from "./addon.ts";
import type { KeeperLog } from "./lend.ts";
import { LookupsAhead } from "./lookups-ahead.ts";
import { type NodeLinks, type NodeRows, nodeRows } from "./node-rows.ts";
import type { PendingLinks } from "./pending.ts";
import { gateBeat, gateValue, type PodLinks, PodRowMaps, parseLinkName, type UnclearedIndices } from "./pod-rows.ts";
import { LENT_MAPS, type MapView, type PodUsageView, type ProgramView } from "./protocol.ts";
import { type Layout, namesIn, otherLayouts, removeTree, type TakeoverParts, takeOver } from "./takeover.ts";
import type { Beat } from "./watchdog.ts";

export type LoadOptions = {
  readonly bpffs: string;
  readonly node: string;
  readonly podsCgroup: string;
  readonly heartbeatLimitMs: number;
  /** A map that any keeper pinned, by its path. */
  readonly openMap: (path: string) => KernelMap;
  readonly maxEntries?: Readonly<Record<string, number>>;
  readonly uncleared: (failure: UnclearedIndices) => void;
};

/** Below the directory of pins; in the order in which they are detached. */
const LINK_FOLDERS = ["pods", "links", "own"] as const;

/** In the order that PodThread.sever takes. */
export const SEVER_MAPS = [
  ...["pair_verdict", "in_by_port", "pod_by_ip", "agent_flow", "joined_flow", "out_by_dst"],
  ...["node_flow", "node_access", "node_cgroup", "node_port"],
];

/** What PodThread.survey reads. */
export const SURVEY_MAPS = [...SEVER_MAPS, "pod_by_netns"];

/** As many as fit into a packet beside the rest; those that hold the most come first. */
const SHOWN_PODS = 200;
const heldBy = ({ flows, joined, dials, nodeDials, traffic, refused, eventsLost }: PodUsageView): number =>
  flows + joined + dials + nodeDials + traffic + refused + eventsLost;

/** The bpf file system refuses dots in names; node names hold no plus sign. */
const pinName = (name: string): string => name.replaceAll(".", "+");

/** A layout version has its own directory: programs of one version never read the maps of another. */
export const pinDirectory = (bpffs: string, node: string): string =>
  join(bpffs, "orlop", pinName(node), `v${ORLOP_ABI_VERSION}`);

/** Everything the keeper holds in the kernel. */
export class LoadedPrograms {
  readonly rows: PodRowMaps;
  readonly nodeRows: NodeRows;
  readonly pendingLinks: PendingLinks;
  readonly #options: LoadOptions;
  readonly #programs: Programs;
  readonly #pinDir: string;
  readonly #lookups: LookupsAhead;

  /** Loads, with the maps that an earlier keeper of this layout version pinned. Attaches nothing. */
  constructor(options: LoadOptions, programsClass: ProgramsClass) {
    this.#options = options;
    this.#pinDir = pinDirectory(options.bpffs, options.node);
    mkdirSync(this.#pinDir, { recursive: true, mode: 0o700 });
    this.#programs = new programsClass({
      pinDir: this.#pinDir,
      heartbeatLimitNs: BigInt(options.heartbeatLimitMs) * 1_000_000n,
      ...(options.maxEntries ? { maxEntries: options.maxEntries } : {}),
    });
    for (const folder of LINK_FOLDERS) mkdirSync(join(this.#pinDir, folder), { recursive: true, mode: 0o700 });
    const tables = {
      podByNetns: this.#programs.map("pod_by_netns"),
      podByIp: this.#programs.map("pod_by_ip"),
      inboundSocket: this.#programs.map("inbound_socket"),
      inByPort: this.#programs.map("in_by_port"),
      dstOfFlow: this.#programs.map("dst_of_flow"),
      pendingFlow: this.#programs.map("pending_flow"),
      joinedFlow: this.#programs.map("joined_flow"),
      agentFlow: this.#programs.map("agent_flow"),
      podUsage: this.#programs.map("pod_usage"),
      traffic: this.#programs.map("traffic"),
      pairVerdict: this.#programs.map("pair_verdict"),
      vipBackends: this.#programs.map("vip_backends"),
      nodePort: this.#programs.map("node_port"),
      nodeFlow: this.#programs.map("node_flow"),
    };
    this.#lookups = new LookupsAhead((podIdx) => this.#programs.loadLookup(podIdx));
    this.rows = new PodRowMaps(tables, this.#podLinks(), options.uncleared);
    const node = { access: this.#programs.map("node_access"), cgroups: this.#programs.map("node_cgroup") };
    this.nodeRows = nodeRows(node, this.#nodeLinks());
    this.pendingLinks = this.#cgroupLinks("pending");
  }

  /** Layout versions that other keepers left pinned on this node. While there are any, ours attaches nothing. */
  otherLayouts(): Layout[] {
    return otherLayouts(this.#pinDir);
  }

  /** Takes over from every other layout version, oldest first; the limit of the heartbeat stays ours. */
  async takeOver(endMarked: TakeoverParts["endMarked"], log: KeeperLog): Promise<void> {
    const { limitNs } = this.readGate();
    const parts: TakeoverParts = {
      map: (name) => this.#programs.map(name),
      moveLink: (program, from, to) => this.#programs.moveLink(program, from, to),
      detach: (pin) => void this.#programs.detach(pin),
      programNames: () => this.#programs.programs().map(({ name }) => name),
      openMap: this.#options.openMap,
      endMarked,
    };
    for (const other of this.otherLayouts()) await takeOver(other, this.#pinDir, parts, log);
    this.#programs.map("gate").put(new Uint8Array(4), gateValue({ beatNs: this.readGate().beatNs, limitNs }));
  }

  /** Attaches to the pods' ancestor and to ourselves, or moves the links that are there to what is loaded. */
  attach(log: KeeperLog): void {
    const { podsCgroup } = this.#options;
    this.#attach(podsCgroup, "links", "all", log);
    // The agent uses sockets of ours: without a hook on their cgroup nothing would publish what it dials.
    const { directory: own } = ownCgroup(cgroupTexts(), cgroupReader);
    if (own !== podsCgroup && !own.startsWith(`${podsCgroup}/`)) this.#attach(own, "own", "sockops-only", log);
  }

  /** For PodThread, which tags the sockets it makes. */
  get sockMapFd(): number {
    return this.#programs.map("dst_of_sock").fd;
  }

  /** For PodThread, which ends what these maps no longer allow. */
  get severFds(): Int32Array {
    return Int32Array.from(SEVER_MAPS, (name) => this.#programs.map(name).fd);
  }

  /** For PodThread, which asks for all pods at once which of them it has to look at. */
  get surveyFds(): Int32Array {
    return Int32Array.from(SURVEY_MAPS, (name) => this.#programs.map(name).fd);
  }

  /** Lent with `welcome`; stay ours. */
  lentFds(): number[] {
    return LENT_MAPS.map((name) => this.#programs.map(name).fd);
  }

  readGate(): Beat {
    const value = this.#programs.map("gate").get(new Uint8Array(4));
    return value === undefined || value.length !== orlopGate.size ? { beatNs: 0n, limitNs: 0n } : gateBeat(value);
  }

  view(): {
    readonly programs: readonly ProgramView[];
    readonly maps: readonly MapView[];
    readonly pods: readonly PodUsageView[];
  } {
    return {
      programs: this.#programs.programs().map(({ name, attach, tag, runs, runNs }) => ({
        name,
        attach,
        pin: this.#pinDir,
        tag,
        runs,
        runNs,
      })),
      // An array has all its entries from the start: how full it is says nothing.
      maps: this.#programs.maps().map(({ name, type, entries, maxEntries }) => ({
        name,
        entries: type.includes("array") ? -1 : entries,
        maxEntries,
      })),
      pods: this.#podLinks()
        .names()
        .flatMap((name) => parseLinkName(name) ?? [])
        .map((pod) => this.rows.usage(pod))
        .toSorted((one, other) => heldBy(other) - heldBy(one))
        .slice(0, SHOWN_PODS),
    };
  }

  /** Lets go. Pins, and so capture, stay: an agent that lives serves on, and the next keeper takes over. */
  close(): void {
    this.#lookups.close();
    this.#programs.close();
  }

  /** Detaches everything and removes every pin. After `releaseAll`. */
  remove(): void {
    for (const folder of LINK_FOLDERS) {
      const directory = join(this.#pinDir, folder);
      for (const name of namesIn(directory)) this.#programs.detach(join(directory, name));
    }
    this.close();
    removeTree(this.#pinDir);
    // Parents that others still use stay.
    for (const parent of [join(this.#pinDir, ".."), join(this.#pinDir, "../..")]) {
      if (namesIn(parent).length === 0) rmdirSync(parent);
    }
  }

  #podLinks(): PodLinks {
    const directory = join(this.#pinDir, "pods");
    return {
      attach: (name, netnsFd, podIdx) => {
        const loaded = podIdx === 0 ? undefined : this.#lookups.take(podIdx);
        try {
          this.#programs.attachNamespace(netnsFd, join(directory, name), podIdx, loaded);
        } finally {
          if (loaded !== undefined) closeSync(loaded);
        }
      },
      foresee: (podIdxs) => this.#lookups.expect(podIdxs),
      detach: (name) => void this.#programs.detach(join(directory, name)),
      names: () => namesIn(directory),
    };
  }

  #nodeLinks(): NodeLinks {
    const { attach, detach, names } = this.#cgroupLinks("node");
    return {
      attach: (id, cgroup) => attach(String(id), cgroup),
      detach: (id) => detach(String(id)),
      attached: () => names().flatMap((name) => (/^\d{1,20}$/.test(name) ? BigInt(name) : [])),
    };
  }

  /** Links of several programs on a cgroup, pinned together in a folder of that name. */
  #cgroupLinks(which: "node" | "pending"): PendingLinks {
    const directory = join(this.#pinDir, which);
    const folder = (name: string): string => join(directory, name);
    return {
      attach: (name, cgroup) => {
        mkdirSync(directory, { recursive: true, mode: 0o700 });
        try {
          this.#programs.attachCgroup(cgroup, folder(name), which);
        } catch (error) {
          // It is all or nothing, but for the folder.
          if (existsSync(folder(name)) && namesIn(folder(name)).length === 0) rmdirSync(folder(name));
          throw error;
        }
      },
      detach: (name) => {
        for (const pin of namesIn(folder(name))) this.#programs.detach(join(folder(name), pin));
        removeTree(folder(name));
      },
      names: () => namesIn(directory),
    };
  }

  #attach(cgroup: string, folder: string, which: "all" | "sockops-only", log: KeeperLog): void {
    const pins = join(this.#pinDir, folder);
    try {
      this.#programs.attachCgroup(cgroup, pins, which);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EBUSY")) throw error;
      // Pinned on another cgroup: the configuration changed, or that one was removed and made anew. It no
      // longer guards the configured cgroup.
      log.warn("links of an earlier keeper were on another cgroup", { cgroup });
      for (const name of namesIn(pins)) this.#programs.detach(join(pins, name));
      this.#programs.attachCgroup(cgroup, pins, which);
    }
  }
}
