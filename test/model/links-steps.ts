// test model · steps of the model of connections: calls of every kind, and what changes who may call whom.
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { LinkKind } from "./holder.ts";
import { type Call, type EndName, type PodName, podNames, ruleNames, withPod } from "./links-mesh.ts";
import { type Link, type LinkStep, type LinksWorld, MPTCP_PORT, PLAIN_PORT, SETTLE_MS } from "./links-world.ts";
import { pick, type Step } from "./step.ts";

const podOf = ({ who }: Step): PodName => pick(who, ...podNames);
/** All but `mute`, whose callers would not hear that they were cut. */
const hearing = ["client", "server", "seen", "far", "remote"] as const;
const touches =
  (pod: PodName) =>
  ({ from, to }: Link): boolean =>
    from === pod || to === pod;

/** A new call; more often between pods of the first node, where all ways are. */
function call(name: string, kind: LinkKind, ends: (step: Step) => readonly [EndName, EndName]): LinkStep {
  const callOf = (step: Step): Call => {
    const [from, to] = ends(step);
    const port = kind === "mptcp" ? MPTCP_PORT : pick(step.n >> 4, PLAIN_PORT, PLAIN_PORT, MPTCP_PORT);
    return { from, to, family: pick(step.n >> 3, 4, 6), port };
  };
  return {
    name,
    can: (world, step) => {
      const dialled = callOf(step);
      return dialled.from !== dialled.to && world.links.size < 60 && world.judgement().isNamed(dialled);
    },
    take: async (world, step) => {
      await world.inForce();
      if (kind === "half") world.dial(callOf(step), kind);
      else await world.expectDialled(callOf(step), kind);
    },
  };
}

const joined = call("call-joined", "plain", ({ who, n }) => [
  pick(who, "client", "server"),
  pick(n, "server", "client"),
]);
/** Its resets are dropped in its own namespace: the other end hears nothing of an end on this side. */
const mute = call("call-mute", "plain", ({ n }) => ["mute", pick(n, "server", "client")]);
const local = call("call-local", "plain", ({ who }) => [pick(who, "client", "server"), "seen"]);
const tunnel = call("call-tunnel", "plain", ({ who, n }) =>
  n % 3 === 0
    ? [pick(who, "far", "remote"), pick(n, "server", "seen")]
    : [pick(who, "client", "server"), pick(n, "far", "remote")],
);
const plain = call("call-plain", "plain", ({ who }) => ["outside", pick(who, ...hearing)]);
const direct = call("call-direct", "plain", ({ who }) => [pick(who, ...podNames), "outside"]);
const mptcp = call("call-mptcp", "mptcp", ({ who, n }) => [
  pick(n, "outside", "client"),
  pick(who, "server", "seen", "far", "remote"),
]);
/** From outside of the mesh: the SYN has come, and the rest is withheld until later. */
const half = call("call-half", "half", ({ who }) => ["outside", pick(who, ...hearing)]);

const complete: LinkStep = {
  name: "complete-half",
  can: (world) => [...world.links.values()].some(({ kind }) => kind === "half"),
  take: async (world) => {
    for (const link of world.links.values()) if (link.kind === "half") world.complete(link);
    // A first packet is repeated after 1, 3 and 7 s.
    await sleep(1_500);
  },
};

function edit(name: string, change: (world: LinksWorld, step: Step) => void): LinkStep {
  return { name, can: () => true, take: async (world, step) => change(world, step) };
}

/** Who may call whom, and how; connections that stay allowed stay up. */
const mode = edit("mode", (world, step) => {
  const pod = podOf(step);
  world.write(withPod(world.mesh, pod, { strict: !world.mesh[pod].strict }));
});
const rules = edit("rules", (world, step) => {
  const pod = podOf(step);
  const rule = pick(step.n, ...ruleNames);
  const before = world.mesh[pod].rules;
  const after = before.includes(rule) ? before.filter((name) => name !== rule) : [...before, rule];
  // Plaintext that the kernel had passed, since no policy bore on the pod, is judged from here on: it is ended, and comes again by
  // the agent.
  if (before.length === 0) world.disturb(({ from, to }) => to === pod && !world.judgement().isMember(from));
  world.write(withPod(world.mesh, pod, { rules: after.slice(-2) }));
});

/** Another identity, name or address, or none in the mesh: what is open may be cut, and what is not allowed any more must be. */
const identity = edit("identity", (world, step) => {
  const pod = podOf(step);
  world.disturb(touches(pod));
  world.write(withPod(world.mesh, pod, { account: world.mesh[pod].account === 0 ? 1 + (step.n % 3) : 0 }));
});
const rename = edit("rename", (world, step) => {
  const pod = podOf(step);
  world.disturb(touches(pod));
  world.write(withPod(world.mesh, pod, { renamed: world.mesh[pod].renamed + 1 }));
});
const addresses = edit("addresses", (world, step) => {
  const pod = podOf(step);
  world.disturb(touches(pod));
  world.write(withPod(world.mesh, pod, { ip6: !world.mesh[pod].ip6 }));
});
const membership = edit("membership", (world, step) => {
  const pod = podOf(step);
  world.disturb(touches(pod));
  world.write(withPod(world.mesh, pod, { member: !world.mesh[pod].member }));
});

/** What changes while a program is away is in force when its successor is there. */
function away(name: string, program: "agent" | "keeper"): LinkStep {
  return {
    name,
    can: () => true,
    take: async (world, step) => {
      await world.inForce();
      world.disturb(() => true);
      const { run } = world.programsOn(podOf(step));
      const pid = run.pid(program);
      run.signal(program, "SIGKILL");
      const change = pick(step.n >> 4, mode, rules, rules, undefined);
      await change?.take(world, step);
      await until(`another ${program}`, SETTLE_MS, () => ![pid, undefined].includes(run.pid(program)) || undefined);
    },
  };
}
const agentAway = away("agent-away", "agent");
const keeperAway = away("keeper-away", "keeper");

/** The root of the other node goes, and comes back. */
const roots: LinkStep = {
  name: "roots",
  can: () => true,
  take: async (world) => {
    world.roots.trust(false);
    await world.expectOracle();
    world.roots.trust(true);
  },
};
/** A file that holds no root removes none. */
const rootsBroken: LinkStep = {
  name: "roots-broken",
  can: () => true,
  take: async (world, step) => {
    world.roots.break(pick(step.n, "", "-----BEGIN CERTIFICATE-----\nMII", "no root"));
    await world.expectOracle();
    world.roots.trust(true);
  },
};

/** An idle moment: what is allowed lives on. */
const rest: LinkStep = { name: "rest", can: () => true, take: async () => {} };

export const linkKinds: readonly LinkStep[] = [
  joined,
  mute,
  local,
  tunnel,
  plain,
  direct,
  mptcp,
  half,
  complete,
  mode,
  rules,
  identity,
  rename,
  addresses,
  membership,
  agentAway,
  keeperAway,
  roots,
  rootsBroken,
  rest,
];
