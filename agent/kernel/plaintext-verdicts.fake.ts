// tests · the whole of out_by_dst as the mesh is, asked of the functions that keep it up to date change by change.
import type { OutEntry } from "./maps.ts";
import { outEntries, type VerdictWorld, vipEntries } from "./plaintext-verdicts.ts";

export function allOutEntries(world: VerdictWorld): OutEntry[] {
  const list: OutEntry[] = [];
  for (const workload of world.mesh.workloads()) list.push(...outEntries(workload, world));
  for (const service of world.mesh.services()) list.push(...vipEntries(service, world));
  return list;
}
