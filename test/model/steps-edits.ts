// test model · steps that edit the mesh file: valid edits that let nobody out, mistakes, and those that let a pod out and in again.
import { isMember, type MeshState, type PodState, podNames, refusesPlaintext, withPod } from "./mesh.ts";
import { pick, type Step } from "./step.ts";
import { type NodeKind, podOf, type World } from "./world.ts";

/** Writes the mesh as it is to be, by rename or in place, and whole. */
export function write(world: World, step: Step, mesh: MeshState): void {
  world.mesh = mesh;
  const documents = world.documents();
  if (pick(step.n, true, true, false)) world.writer.renamed(documents);
  else world.writer.inPlace(documents);
}

/** An edit that changes nothing of what is expected of anybody. */
function edit(name: string, change: (mesh: MeshState, step: Step) => MeshState): NodeKind {
  return { name, can: () => true, take: async (world, step) => write(world, step, change(world.mesh, step)) };
}

const podEdit = (name: string, change: (pod: PodState) => Partial<PodState>): NodeKind =>
  edit(name, (mesh, step) => withPod(mesh, podOf(step), change(mesh.pods[podOf(step)])));

export const touched = (mesh: MeshState): MeshState => ({ ...mesh, comment: mesh.comment + 1 });

export const touch = edit("touch", touched);
export const rename = podEdit("rename", ({ renamed }) => ({ renamed: renamed + 1 }));
export const addresses = podEdit("addresses", ({ listed }) => ({ listed: { ...listed, ip6: !listed.ip6 } }));
export const secondAddress = podEdit("second-address", ({ listed }) => ({
  listed: { ...listed, second: !listed.second },
}));
export const account = podEdit("account", (pod) => ({ account: pod.account + 1 }));
export const label = podEdit("label", (pod) => ({ label: pod.label + 1 }));
export const tighten = edit("tighten", (mesh, { n }) => ({
  ...mesh,
  policies: [...mesh.policies.filter((number) => number !== n % 8), n % 8],
}));
export const loosen = edit("loosen", (mesh) => ({ ...mesh, policies: mesh.policies.slice(1) }));

/** The file is valid, and what it says of the pod cannot be: the pod stays as protected as it was. */
function mistake(what: "address" | "uid" | "node"): NodeKind {
  return {
    name: `wrong-${what}`,
    can: ({ mesh }, step) => refusesPlaintext(mesh, podOf(step)) && mesh.pods[podOf(step)].mistake === "",
    take: async (world, step) => write(world, step, withPod(world.mesh, podOf(step), { mistake: what })),
  };
}
export const wrongAddress = mistake("address");
export const wrongUid = mistake("uid");
export const wrongNode = mistake("node");
/** Mostly soon: many steps mean something in a mesh without mistakes alone. */
export const correct: NodeKind = {
  name: "correct",
  weight: 4,
  can: ({ mesh }) => podNames.some((pod) => mesh.pods[pod].mistake !== ""),
  take: async (world, step) => {
    const corrected = podNames.reduce((mesh, pod) => withPod(mesh, pod, { mistake: "" }), world.mesh);
    write(world, step, corrected);
  },
};

/** Written while an agent runs or will run, so that it comes into force. */
export const takesEffect = ({ run, mesh }: World): boolean =>
  !run.hasEnded && podNames.every((pod) => mesh.pods[pod].mistake === "");

/**
 * An edit that lets pods out of what protects them. Its file is put into place by rename: written in place it would count only
 * after seconds of quiet.
 */
async function letOut(world: World, mesh: MeshState): Promise<void> {
  const before = world.mesh;
  for (const pod of podNames) {
    if (isMember(before, pod) && !isMember(mesh, pod)) world.allow(pod);
    else if (refusesPlaintext(before, pod) && !refusesPlaintext(mesh, pod)) world.allow(pod, "answers");
  }
  world.mesh = mesh;
  world.writer.renamed(world.documents());
  await world.answers(podNames.filter((pod) => !refusesPlaintext(mesh, pod)));
}

async function letIn(world: World, step: Step, mesh: MeshState): Promise<void> {
  write(world, step, mesh);
  // Without an agent a pod refuses whatever was written. An agent that starts when the file has changed again never read it.
  await world.kept();
  await world.protects();
}

/** There and back: each of both is a kind of its own. */
function both(
  [out, back]: readonly [string, string],
  options: {
    readonly canOut: (pod: PodState) => boolean;
    readonly canBack: (pod: PodState) => boolean;
    readonly out: Partial<PodState>;
    readonly back: Partial<PodState>;
  },
): readonly [NodeKind, NodeKind] {
  return [
    {
      name: out,
      after: correct.name,
      can: (world, step) =>
        takesEffect(world) && refusesPlaintext(world.mesh, podOf(step)) && options.canOut(world.mesh.pods[podOf(step)]),
      take: (world, step) => letOut(world, withPod(world.mesh, podOf(step), options.out)),
    },
    {
      name: back,
      after: out,
      can: (world, step) =>
        takesEffect(world) && world.mesh.namespaceIn && options.canBack(world.mesh.pods[podOf(step)]),
      take: (world, step) => letIn(world, step, withPod(world.mesh, podOf(step), options.back)),
    },
  ];
}

export const membership: readonly NodeKind[] = [
  ...both(["remove", "add"], {
    canOut: () => true,
    canBack: (pod) => pod.membership === "removed",
    out: { membership: "removed" },
    back: { membership: "in" },
  }),
  ...both(["opt-out", "opt-in"], {
    canOut: () => true,
    canBack: (pod) => pod.membership === "opted-out",
    out: { membership: "opted-out" },
    back: { membership: "in" },
  }),
  ...both(["permissive", "strict"], {
    canOut: () => true,
    canBack: (pod) => pod.permissive,
    out: { permissive: true },
    back: { permissive: false },
  }),
  {
    name: "namespace-out",
    after: correct.name,
    can: (world) => takesEffect(world) && world.mesh.namespaceIn,
    take: (world) => letOut(world, { ...world.mesh, namespaceIn: false }),
  },
  {
    name: "namespace-in",
    after: "namespace-out",
    can: (world) => takesEffect(world) && !world.mesh.namespaceIn,
    take: (world, step) => letIn(world, step, { ...world.mesh, namespaceIn: true }),
  },
];
