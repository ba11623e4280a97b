// keeper · what the CNI plug-in (native/cni) asks and is answered: one JSON object per SOCK_SEQPACKET packet. Pure.
import { isPodUid } from "./requests.ts";

export type StartRequest = {
  /**
   * - add: the network of a pod was made, and none of its processes runs yet. With it comes a descriptor of its network namespace
   * - del: that network goes. Nobody waits for an answer
   */
  readonly op: "add" | "del";
  readonly uid: string;
  /** Of the sandbox (CNI_CONTAINERID): a pod whose first sandbox could not be made gets another under the same UID. */
  readonly container: string;
  readonly namespace: string;
  readonly name: string;
};

export type StartAnswer =
  /** The pod is captured; or it is guarded because an agent asked for that, and refuses everything until it is captured. */
  | { readonly op: "in-force" }
  /** The agent knows the pod, and it does not belong to the mesh. */
  | { readonly op: "not-ours" }
  /** An agent works at it: the plug-in waits for another answer. */
  | { readonly op: "wait" }
  /** `why` has no quotation mark and no backslash: the plug-in reads no escapes. */
  | { readonly op: "refused"; readonly why: string };

const MAX_CHARACTERS = 4_096;
/** containernetworking/cni:SPEC.md, "Parameters"; the runtimes' have 64 characters. */
const isContainer = (value: unknown): value is string =>
  typeof value === "string" && value.length <= 253 && /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(value);
const isName = (value: unknown): value is string =>
  typeof value === "string" && value.length <= 253 && /^[a-z0-9.-]*$/.test(value);

/** Undefined: it is no request. */
export function parseStart(text: string): StartRequest | undefined {
  if (text.length > MAX_CHARACTERS) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { op, uid, container, namespace, name } = read as Partial<Record<string, unknown>>;
  if ((op !== "add" && op !== "del") || !isPodUid(uid) || !isContainer(container)) return undefined;
  if (!isName(namespace) || !isName(name)) return undefined;
  return { op, uid, container, namespace, name };
}
