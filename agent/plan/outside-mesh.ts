// 8, 12 · any thread · somebody whom the mesh does not list: as much of a workload as is known, the rest empty. For labels
// and for the router's eyes; never shown to the evaluator as a destination.
import { nowhere } from "../mesh/source-ref.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import { parseBaggage } from "./connect-headers.ts";

const nobody: Workload = {
  uid: "",
  podUid: "",
  name: "",
  namespace: "",
  addresses: [],
  node: "",
  network: "",
  cluster: "",
  identity: { text: "", trustDomain: "", namespace: "", serviceAccount: "" },
  labels: {},
  protocol: "none",
  ports: {},
  healthy: true,
  locality: { region: "", zone: "", subzone: "" },
  weight: 1,
  probePorts: null,
  removesProxyHeaders: false,
  workloadName: "",
  canonicalName: "",
  canonicalRevision: "",
  from: nowhere,
};

/** Only the address is known. */
export function strangerAt(address: string): Workload {
  return { ...nobody, addresses: [address] };
}

/** Strangers who were met, by all that is known of them: each connection of the same peer has the same object, and is counted without a text. */
const met = new Map<string, Workload>();
/** A peer chooses what it says of itself, in up to 4 KiB. */
const MOST_MET = 256;

/**
 * A verified peer that is in no list of ours: named by itself, in its baggage. Its namespace and identity are the
 * certificate's, whatever it says. Pure but for a bounded memory: equal arguments mostly give the same object.
 */
export function strangerWith(identity: SpiffeId, address: string, baggage: string): Workload {
  const key = `${identity.text} ${address} ${baggage}`;
  const known = met.get(key);
  if (known !== undefined) return known;
  const stranger = namedByItself(identity, address, baggage);
  if (met.size >= MOST_MET) met.clear();
  met.set(key, stranger);
  return stranger;
}

function namedByItself(identity: SpiffeId, address: string, baggage: string): Workload {
  const named = parseBaggage(baggage);
  return {
    ...nobody,
    name: named.workloadName,
    workloadName: named.workloadName,
    namespace: identity.namespace,
    identity,
    addresses: [address],
    protocol: "hbone",
    cluster: named.cluster,
    locality: { region: named.region, zone: named.zone, subzone: "" },
    canonicalName: named.canonicalName,
    canonicalRevision: named.canonicalRevision,
  };
}
