// test double · two ends of a packet socket that carries descriptors, in memory; each packet arrives in a later turn.
import { closeSync, openSync } from "node:fs";
import type { Channel } from "./lend.ts";

type Events = { readonly onPacket: (text: string, fds: readonly number[]) => void; readonly onClosed: () => void };

/** Duplicates, as the kernel does for SCM_RIGHTS; for regular files and /dev/null. */
const duplicate = (fd: number): number => openSync(`/proc/self/fd/${fd}`, "r");

class FakeEnd implements Channel {
  readonly peer: Channel["peer"];
  other: FakeEnd | undefined;
  events: Events | undefined;
  open = true;
  /** Of the connecting side's process; undefined: the kernel does not say it. */
  lives: boolean | undefined = true;
  /** A full socket buffer. */
  jammed = false;

  constructor(uid: number) {
    this.peer = { pid: 1234, uid, gid: uid };
  }
  peerLives(): boolean | undefined {
    return this.lives;
  }
  send(text: string, fds: readonly number[]): boolean {
    const other = this.other;
    if (!this.open || !other?.open || this.jammed) return false;
    const passed = fds.map(duplicate);
    setImmediate(() => {
      if (other.open && other.events) other.events.onPacket(text, passed);
      else for (const fd of passed) closeSync(fd);
    });
    return true;
  }
  close(): void {
    if (!this.open) return;
    this.open = false;
    const other = this.other;
    setImmediate(() => {
      if (!other?.open) return;
      other.open = false;
      other.events?.onClosed();
    });
  }
}

/** @param uid of the connecting side, as the accepting side sees it */
export function fakeChannelPair(uid: number): { readonly accepted: FakeEnd; readonly connected: FakeEnd } {
  const accepted = new FakeEnd(uid);
  const connected = new FakeEnd(0);
  accepted.other = connected;
  connected.other = accepted;
  return { accepted, connected };
}
