// main thread · the objects of an API server, each accepted for itself (acceptance "object"). An unreadable policy is in force in its
// closed form, which depends on the present object alone, so that all nodes agree. Of a kind that says where things are or how many, the last
// version that could be read stays in force while the object lives. Pure but for its state.
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { ObjectVersion } from "../mesh/source-ref.ts";
import { cut, Lean } from "../mesh/thread-view.ts";
import { Assembly } from "./kinds/assembly.ts";
import { jsonValue } from "./kinds/json-value.ts";
import type { NodeSettings } from "./kinds/node-settings.ts";
import { leanObject, type ParsedObject, parsedObjectsOf, saySame } from "./kinds/parsed-object.ts";
import { type MapEntry, type Problem, Report, type Value } from "./kinds/value.ts";
import type { LeftOutPod } from "./left-out.ts";

/** What the API server says of an object. `uid` tells an object from an earlier object of the same name. */
export type ObjectChange =
  | {
      readonly op: "present";
      readonly apiVersion: string;
      readonly version: ObjectVersion;
      readonly uid: string;
      /** As JSON.parse made it; kind, apiVersion, name and namespace in it may be missing. */
      readonly object: unknown;
    }
  | { readonly op: "deleted"; readonly object: Pick<ObjectVersion, "kind" | "namespace" | "name"> };

/** Kinds that say where things are or how many, and never who may call: an old answer is better than none. */
const KEPT_KINDS: ReadonlySet<string> = new Set([
  ...["Service", "EndpointSlice", "DestinationRule", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "LimitPolicy"],
]);

type AcceptedObject = {
  /** Of kinds that are kept alone: of very many objects each has a text of its own. */
  readonly uid: string;
  /** What is in force of it: of the present version, or of an earlier version that could be read. */
  readonly parsed: readonly ParsedObject[];
  readonly problems: readonly Problem[];
  readonly findings: readonly Problem[];
};

const none: readonly never[] = Object.freeze([]);
const nothing: AcceptedObject = { uid: "", parsed: none, problems: none, findings: none };

export class AcceptedObjects {
  readonly #settings: NodeSettings;
  readonly #assembly: Assembly;
  readonly #lean = new Lean();
  /** What is in force, by `keyOf`. */
  readonly #inForce = new Map<string, readonly ParsedObject[]>();
  /** Of the kinds that are kept: few of very many, as those below. */
  readonly #kept = new Map<string, AcceptedObject>();
  /** Those with something to report, which are asked for after each change. */
  readonly #reported = new Map<string, AcceptedObject>();

  constructor(settings: NodeSettings) {
    this.#settings = settings;
    this.#assembly = new Assembly(settings, "object");
  }

  /** Objects of the mesh that are in force. */
  get objects(): number {
    return this.#assembly.objects;
  }

  /** What is wrong with the present objects, until each is mended or gone. */
  get problems(): readonly Problem[] {
    return [...this.#reported.values().flatMap(({ problems }) => problems), ...this.#assembly.problems];
  }

  get leftOut(): readonly LeftOutPod[] {
    return this.#assembly.leftOut;
  }

  /** What is known but not honoured. */
  get findings(): readonly Problem[] {
    return [...this.#reported.values().flatMap(({ findings }) => findings), ...this.#assembly.findings];
  }

  /** Takes the changes over, in their order, and says what they change in the mesh. Nothing in an object can make it throw. */
  apply(changes: Iterable<ObjectChange>): readonly MeshUpdate[] {
    const steps = this.applying(changes);
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
    }
  }

  /** As `apply`, in steps. Until the last of them nothing has changed. Two must not be under way at once. */
  *applying(changes: Iterable<ObjectChange>): Generator<void, readonly MeshUpdate[]> {
    const accepted = new Map<string, AcceptedObject | undefined>();
    for (const change of changes) {
      const key = keyOf(change.op === "present" ? change.version : change.object);
      const known = (accepted.has(key) ? accepted.get(key) : this.#known(key)) ?? nothing;
      accepted.set(key, change.op === "present" ? this.#accept(change, known) : undefined);
      yield;
    }
    const gone: ParsedObject[] = [];
    const come: ParsedObject[] = [];
    for (const [key, object] of accepted) {
      const [before, now] = [this.#inForce.get(key) ?? none, object?.parsed ?? none];
      if (before !== now) {
        for (const parsed of before) gone.push(parsed);
        for (const parsed of now) come.push(parsed);
      }
      yield;
    }
    for (const [key, object] of accepted) {
      if (object === undefined) this.#inForce.delete(key);
      else this.#inForce.set(key, object.parsed);
      if (object !== undefined && object.uid !== "") this.#kept.set(key, object);
      else this.#kept.delete(key);
      if (object !== undefined && object.problems.length + object.findings.length > 0) this.#reported.set(key, object);
      else this.#reported.delete(key);
    }
    return this.#assembly.swap({ gone, come });
  }

  #known(key: string): AcceptedObject {
    return this.#kept.get(key) ?? { ...nothing, parsed: this.#inForce.get(key) ?? none };
  }

  #accept(change: Extract<ObjectChange, { readonly op: "present" }>, known: AcceptedObject): AcceptedObject {
    const { version, uid } = change;
    const report = new Report("object");
    const read = parsedObjectsOf(documentOf(change), this.#settings, report);
    const [problems, findings] = [filled(report.problems), filled(report.findings)];
    const isKept = KEPT_KINDS.has(version.kind);
    if (isKept && problems.length > 0) {
      const kept = known.uid === uid ? known : nothing;
      return { uid, parsed: kept.parsed, problems, findings: kept.findings };
    }
    // A list names everything again, most of it as it was: then what is known stays, and the new copy goes at once.
    const lean = read.map((object) => leanObject(object, this.#lean));
    const parsed = saySame(known.parsed, lean) ? known.parsed : lean;
    return { uid: isKept ? uid : "", parsed, problems, findings };
  }
}

/** Very many objects have nothing to report: none of them has a list for it. */
const filled = (problems: readonly Problem[]): readonly Problem[] => (problems.length === 0 ? none : problems);

const keyOf = ({ kind, namespace, name }: Pick<ObjectVersion, "kind" | "namespace" | "name">): string =>
  cut(`${kind} ${namespace}/${name}`);

/** The object with what the API server says of it beside it: the items of a list have no kind, and names are not for the object to choose. */
function documentOf({ apiVersion, version, object }: Extract<ObjectChange, { readonly op: "present" }>): Value {
  const { kind, namespace, name } = version;
  const document = mapOf(jsonValue(object, version));
  const written = document.get("metadata")?.value;
  const metadata = mapOf(written);
  const entry = (value: Value): MapEntry => ({ keyFrom: version, value });
  const text = (value: string): MapEntry => entry({ type: "string", value, from: version });
  // Then its annotations cannot be read either, of which one may say that a policy is not enforced.
  if (written !== undefined && written.type !== "map")
    metadata.set("annotations", entry({ type: "null", from: version }));
  metadata.set("name", text(name));
  if (namespace !== "") metadata.set("namespace", text(namespace));
  document.set("metadata", entry({ type: "map", from: version, entries: metadata }));
  document.set("kind", text(kind));
  if (!document.has("apiVersion")) document.set("apiVersion", text(apiVersion));
  return { type: "map", from: version, entries: document };
}

/** A copy of its entries; what is no map has none, and its kind's required fields are then missing. */
function mapOf(value: Value | undefined): Map<string, MapEntry> {
  return new Map(value?.type === "map" ? value.entries : []);
}
