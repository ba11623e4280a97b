// keeper · what each of those needs who look after pods together: their tree, the table, a turn of each pod, and who ends and guards them.
// Types only.
import type { PodDepartures } from "./departures.ts";
import type { NamespaceGuards } from "./guards.ts";
import type { PendingPods } from "./pending.ts";
import type { PodTable } from "./pod-table.ts";
import type { EnrollmentTree, PodPresence } from "./presence.ts";
import type { ProtectedPods } from "./protected-pods.ts";
import type { PodTurns } from "./turns.ts";

export type PodParts = {
  readonly tree: EnrollmentTree;
  readonly protectedPods: ProtectedPods;
  readonly table: PodTable;
  readonly turns: PodTurns;
  readonly presence: PodPresence;
  readonly guards: NamespaceGuards;
  readonly departures: PodDepartures;
  readonly pending: PendingPods;
};
