// tests · what an application has written, and the other end's kernel has not taken over: a reset takes that back.
import { readFileSync } from "node:fs";

/** Bytes of the connections at this port of IPv4, by the end that has the port; proc_pid_net(5). */
export const onTheirWay = (port: number): number =>
  readFileSync("/proc/net/tcp", "latin1")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/[\s:]+/))
    .filter(([, , local = ""]) => Number.parseInt(local, 16) === port)
    .reduce((sum, [, , , , , , written = ""]) => sum + Number.parseInt(written, 16), 0);
