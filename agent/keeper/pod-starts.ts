// keeper · answers the CNI plug-in on cni.sock: a pod that begins is guarded at once, and the plug-in hears when an agent has captured it,
// or has said that the pod is none of the mesh's.
import { closeSync } from "node:fs";
import { FdSocket } from "./addon.ts";
import { parseStart, type StartAnswer, type StartRequest } from "./cni-protocol.ts";
import type { PodEnrollments } from "./enrollment.ts";
import type { PodRow } from "./enrollment-states.ts";
import type { KeeperLog } from "./lend.ts";
import type { PodNotice } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";

export type PodStartsOptions = {
  /** Undefined: programs of another layout are in force until an agent of ours is here. A plug-in does not end that. */
  readonly opened: () => Pick<PodEnrollments, "begin" | "end" | "all" | "isAskedFor"> | undefined;
  /** An agent holds the node, so that waiting for its word makes sense. */
  readonly isHeld: () => boolean;
  readonly notify: (notice: PodNotice) => void;
  /** Returns what calls it off. */
  readonly after: (ms: number, call: () => void) => () => void;
  readonly log: KeeperLog;
};

/** One connection of a plug-in. */
export interface StartChannel {
  readonly peer: { readonly pid: number; readonly uid: number };
  send(answer: StartAnswer): void;
  close(): void;
}

/** The plug-in waits for a word 8 s, and for the last 40 s after it began. */
const PATIENCE_MS = 7_000;
/**
 * A pod that begins before it is captured has its first calls refused, and a node that starts all its pods at once may need more than one
 * such time for each: while an agent holds the node the plug-in is asked so often to wait on.
 */
const WAITS = 4;

/** The plug-in reads no escapes. */
const plain = (message: string): string => message.replaceAll(/[^ !#-[\]-~]/g, " ");

type WaitingStart = { readonly uid: string; readonly answer: (answer: StartAnswer) => void };

export class PodStarts {
  readonly #options: PodStartsOptions;
  /** By index. */
  readonly #waiting = new Map<number, Set<WaitingStart>>();

  constructor(options: PodStartsOptions) {
    this.#options = options;
  }

  /** One packet of a plug-in came. Owns the descriptors. */
  async packet(channel: StartChannel, text: string, fds: readonly number[]): Promise<void> {
    const { log } = this.#options;
    const request = parseStart(text);
    const [netnsFd] = fds;
    const isWhole = request?.op === "add" ? fds.length === 1 : request?.op === "del" && fds.length === 0;
    if (channel.peer.uid !== 0 || request === undefined || !isWhole) {
      for (const fd of fds) closeSync(fd);
      log.warn("a process that is no CNI plug-in of ours was turned away", { ...channel.peer });
      return channel.close();
    }
    try {
      if (netnsFd === undefined) await this.#ends(request);
      else await this.#begins(channel, request, netnsFd);
    } catch (error) {
      log.error("a pod that begins could not be guarded", { pod: request.uid, error: String(error) });
      channel.send({ op: "refused", why: "the keeper has failed: its log says why" });
    }
  }

  captured(podIdx: number): void {
    this.#settle(podIdx, { op: "in-force" });
  }

  released(podIdx: number): void {
    this.#settle(podIdx, { op: "not-ours" });
  }

  async #begins(
    channel: StartChannel,
    { uid, container, namespace, name }: StartRequest,
    netnsFd: number,
  ): Promise<void> {
    const { opened, isHeld, notify, after, log } = this.#options;
    const enrollments = opened();
    if (enrollments === undefined) {
      closeSync(netnsFd);
      return channel.send({ op: "refused", why: "programs of another release are in force until an agent is here" });
    }
    const { begun, gone } = await enrollments.begin(uid, container, netnsFd, { namespace, name });
    if (gone !== undefined) this.#gone(gone);
    if ("refused" in begun) {
      log.warn("a pod that begins is refused", { pod: uid, reason: begun.refused, message: begun.message });
      return channel.send({ op: "refused", why: plain(begun.message) });
    }
    const { podIdx } = begun;
    log.info("a pod begins", { pod: uid, name: `${namespace}/${name}`, podIdx });
    if (enrollments.all().some((found) => found.row.podIdx === podIdx && found.state === "captured"))
      return channel.send({ op: "in-force" });
    const others = this.#waiting.get(podIdx) ?? new Set();
    this.#waiting.set(podIdx, others);
    let waits = 0;
    const late = (): void => {
      if (waits < WAITS && isHeld()) {
        waits += 1;
        channel.send({ op: "wait" });
        callOff = after(PATIENCE_MS, late);
        return;
      }
      if (!enrollments.isAskedFor(uid)) {
        waiting.answer({ op: "refused", why: "no agent has said whether it belongs to the mesh" });
        return;
      }
      log.warn("a pod begins guarded, since no agent has captured it yet: what it dials is refused until then", {
        ...{ pod: uid, name: `${namespace}/${name}`, podIdx },
      });
      waiting.answer({ op: "in-force" });
    };
    let callOff = after(PATIENCE_MS, late);
    const waiting: WaitingStart = {
      uid,
      answer: (answer) => {
        callOff();
        others.delete(waiting);
        if (others.size === 0 && this.#waiting.get(podIdx) === others) this.#waiting.delete(podIdx);
        channel.send(answer);
      },
    };
    others.add(waiting);
    notify({ id: 0, op: "pod-starting", podIdx, uid, called: { namespace, name } });
  }

  async #ends({ uid, container }: StartRequest): Promise<void> {
    const { opened, log } = this.#options;
    const row = await opened()?.end(uid, container);
    if (row === undefined) return;
    log.info("a pod that had begun goes before its first process", { pod: uid, podIdx: row.podIdx });
    this.#gone(row);
  }

  #gone({ podIdx, uid }: PodRow): void {
    this.#settle(podIdx, { op: "refused", why: "its network namespace goes" });
    this.#options.notify({ id: 0, op: "pod-gone", podIdx, uid });
  }

  #settle(podIdx: number, answer: StartAnswer): void {
    for (const waiting of this.#waiting.get(podIdx) ?? []) waiting.answer(answer);
  }

  close(): void {
    for (const podIdx of this.#waiting.keys()) this.#settle(podIdx, { op: "refused", why: "the keeper ends" });
  }
}

/**
 * A pod that begins takes an index, so that no more plug-ins than indices wait for an answer; a plug-in beyond these is refused as soon as it
 * is heard. A kubelet has 110 pods by default and seldom more than 500, and may start all of them at once, after a reboot for instance.
 */
export const listenForStarts = (path: string): FdSocket => FdSocket.listen(path, 0o600, MAX_PODS + 1);

/** Every connection of a listening socket. The plug-in sends one packet, and ends the connection when it has its answer. */
export function answerStarts(server: FdSocket, starts: PodStarts): void {
  server.onConnection((socket) => {
    const channel: StartChannel = {
      peer: socket.credentials(),
      send: (answer) => {
        try {
          socket.send(Buffer.from(JSON.stringify(answer)), new Int32Array());
        } catch {
          // It has gone: the kubelet asks again, or the pod goes.
        }
      },
      close: () => socket.close(),
    };
    socket.onMessage((bytes, fds) => void starts.packet(channel, bytes.toString("utf8"), [...fds]));
  });
}
