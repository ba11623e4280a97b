// bench · one run of the load generator in a pod, and what it measured as figures.

import type { Host } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { installed, ownProgram } from "../world/programs.ts";

/** What the client dials; `connectTo`: what it asks for there by HTTP/1.1 CONNECT. */
export type Target = { readonly host: string; readonly port: number; readonly connectTo?: string };

export type LoadMode = "bulk" | "rr" | "paced" | "churn" | "connect" | "first" | "idle" | "flip" | "stall";
export type LoadPlan = {
  readonly mode: LoadMode;
  readonly seconds: number;
  readonly warmup: number;
  readonly connections?: number;
  readonly size?: number;
  /** Per second: requests, connects, or bytes of bulk. */
  readonly rate?: number;
  /** Of connects: where between two multiples of the gap they lie, from 0 to below 1. */
  readonly phase?: number;
  /** Of connects: waits for its turn without sleeping, so that no figure holds a processor's waking up. */
  readonly spin?: boolean;
  /** Requests and replies are HTTP/1.1: GET with 12 fields, answered by 200 with 1 KB. */
  readonly http?: boolean;
  /** Only on this processor. */
  readonly core?: number;
  /** Processes whose CPU time is charged to this side. */
  readonly watch: readonly number[];
};

type Output = {
  readonly errors: number;
  readonly cpu_ns: readonly number[];
  readonly busy_ns: number;
  readonly own_ns: number;
  readonly bytes?: number;
  readonly gbps?: number;
  readonly requests?: number;
  readonly rate?: number;
  readonly p50_us?: number;
  readonly p90_us?: number;
  readonly p99_us?: number;
  readonly p999_us?: number;
  readonly connect_p50_us?: number;
  readonly connect_p90_us?: number;
};

export function startLoad(client: Host, target: Target, plan: LoadPlan): Running {
  const {
    mode,
    seconds,
    warmup,
    connections = 1,
    size = 1024,
    rate = 0,
    phase = 0,
    spin = false,
    http = false,
    watch,
  } = plan;
  const argv = [ownProgram("load"), mode, target.host, String(target.port)];
  const values = { connections, size, seconds, warmup, rate, phase, spin: Number(spin), http: Number(http) };
  for (const [name, value] of Object.entries(values)) argv.push(`--${name}`, String(value));
  if (watch.length > 0) argv.push("--watch", watch.join(","));
  if (target.connectTo !== undefined) argv.push("--connect", target.connectTo);
  return client.start(plan.core === undefined ? argv : [installed("taskset"), "-c", String(plan.core), ...argv]);
}

/** Runs it. Throws when a connection failed, a byte was wrong, or nothing was measured. */
export async function runLoad(client: Host, target: Target, plan: LoadPlan): Promise<Figures> {
  const running = startLoad(client, target, plan);
  return finishLoad(running, plan);
}

export async function finishLoad(running: Running, plan: LoadPlan): Promise<Figures> {
  const { status, stdout, stderr } = await running.wait((plan.seconds + plan.warmup) * 1000 + 30_000);
  if (status !== 0) throw new Error(`load ${plan.mode} failed: ${tail(stderr) || tail(stdout) || `status ${status}`}`);
  return figuresOf(JSON.parse(stdout) as Output);
}

/** CPU figures: of the processes watched, and of the whole machine, per byte (ns) or per request (µs). */
export function figuresOf(output: Output): Figures {
  const cpuNs = output.cpu_ns.reduce((sum, ns) => sum + ns, 0);
  const busyNs = output.busy_ns;
  if (output.bytes !== undefined && output.gbps !== undefined) {
    if (!(output.bytes > 0)) throw new Error("no byte arrived in the measured window");
    const per = (ns: number): number => ns / (output.bytes ?? Number.NaN);
    return { gbps: output.gbps, cpuNsPerByte: per(cpuNs), machineNsPerByte: per(busyNs) };
  }
  const { requests = 0, rate = 0, p50_us = 0, p90_us = 0, p99_us = 0, p999_us = 0 } = output;
  const { connect_p50_us, connect_p90_us } = output;
  if (requests === 0) throw new Error("no request was answered in the measured window");
  const per = (ns: number): number => ns / 1000 / requests;
  return {
    rate,
    ...{ p50Us: p50_us, p90Us: p90_us, p99Us: p99_us, p999Us: p999_us },
    ...(connect_p50_us !== undefined && { connectP50Us: connect_p50_us }),
    ...(connect_p90_us !== undefined && { connectP90Us: connect_p90_us }),
    ...{ cpuUsPerRequest: per(cpuNs), machineUsPerRequest: per(busyNs) },
  };
}
