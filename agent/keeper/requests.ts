// keeper · the closed list of what an agent may ask. Pure: text in, a checked request or the reason against it out.
// The sender of a packet may be hostile: every field is checked, bounded and rebuilt; nothing else passes on.
import { socketKinds } from "../abi.ts";
import { canonicalIp, cidrContains, ipToBytes16, parseCidr } from "../mesh/ip.ts";
import { AGENT_ROLES, MAX_PACKET_BYTES, MAX_PACKET_FDS, PROTOCOL_VERSION, type Request } from "./protocol.ts";

/** Pods of one node, and so the bound of every table that has a row per pod. */
export const MAX_PODS = 1024;
/** Of one pod. */
const MAX_ADDRESSES = 16;

export type ParsedRequest =
  | { readonly ok: true; readonly request: Request }
  /** `id` is 0 when not even that could be read. */
  | { readonly ok: false; readonly id: number; readonly message: string };

/** A check on one field: the value itself, rebuilt, or undefined. */
type Field = (value: unknown) => unknown;

const integer =
  (min: number, max: number): Field =>
  (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max ? value : undefined;
const matching =
  (pattern: RegExp, maxLength: number): Field =>
  (value) =>
    typeof value === "string" && value.length <= maxLength && pattern.test(value) ? value : undefined;
const flag: Field = (value) => (typeof value === "boolean" ? value : undefined);
const among =
  (names: readonly string[]): Field =>
  (value) =>
    names.find((name) => name === value);

/** No pod lives there: unspecified, loopback, link-local (the metadata service among them), multicast and above. */
const noPodsPlace = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"]
  .map(parseCidr)
  .filter((cidr) => cidr !== undefined);

function podAddress(value: unknown): string | undefined {
  const address = typeof value === "string" ? canonicalIp(value) : undefined;
  if (address === undefined) return undefined;
  const bytes = ipToBytes16(address);
  return noPodsPlace.some((cidr) => cidrContains(cidr, bytes)) ? undefined : address;
}

const addresses: Field = (value) => {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ADDRESSES) return undefined;
  const canonical = value.map(podAddress);
  if (canonical.some((one) => one === undefined)) return undefined;
  return new Set(canonical).size === canonical.length ? canonical : undefined;
};

const addressesIfKnown: Field = (value) => (Array.isArray(value) && value.length === 0 ? value : addresses(value));

const id = integer(1, 2 ** 31 - 1);
const version = integer(1, 65_535);
const isVersion = (value: unknown): boolean => version(value) !== undefined;
const podIdx = integer(1, MAX_PODS);
/** A path component of the cgroup tree: no slash, no leading dot. */
const podUid = matching(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 128);
const podRef = { podIdx, uid: podUid };
/** Printable ASCII; kept for the agent. */
const workload = matching(/^[!-~]*$/, 1024);
export const isPodUid = (value: unknown): value is string => podUid(value) !== undefined;
/** As `addresses` takes them, or none. */
export const isAddressList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && (value.length === 0 || addresses(value) !== undefined);
export const isWorkloadName = (value: unknown): value is string => workload(value) !== undefined;
const nodeName = matching(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/, 253);

/** Every operation with all its fields: one more, or one less, is refused. */
const operations: { readonly [Op in Request["op"]]: { readonly [name: string]: Field } } = {
  hello: { version, node: nodeName, role: among(AGENT_ROLES) },
  take: {},
  yielded: {},
  serving: {},
  leave: {},
  guard: { uid: podUid, workload },
  prepare: { uid: podUid, addresses: addressesIfKnown },
  "set-addresses": { ...podRef, addresses },
  name: { ...podRef, workload },
  "known-of": podRef,
  capture: { ...podRef, failDirect: flag },
  release: podRef,
  "release-to-guard": { ...podRef, workload },
  sockets: { ...podRef, kind: among(socketKinds), count: integer(1, MAX_PACKET_FDS) },
  sever: podRef,
  "node-access": {},
  programs: {},
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @param text a whole packet. Never throws: what is no request is answered with `message`, under its id if that can be read, else 0 */
export function parseRequest(text: string): ParsedRequest {
  const bad = (message: string, known = 0): ParsedRequest => ({ ok: false, id: known, message });
  if (text.length > MAX_PACKET_BYTES) return bad("longer than a packet may be");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad("no JSON"); // The parser's words quote the packet; they help nobody.
  }
  if (!isObject(value)) return bad("no JSON object");
  const known = id(value.id);
  if (typeof known !== "number") return bad("id is no integer from 1 to 2^31-1");
  const op = Object.keys(operations).find((name) => name === value.op) as Request["op"] | undefined;
  if (op === undefined) return bad("op is none of the operations", known);
  // First of all: another version's hello may have other fields.
  if (op === "hello" && isVersion(value.version) && value.version !== PROTOCOL_VERSION) {
    return bad(`this keeper speaks version ${PROTOCOL_VERSION}`, known);
  }
  const fields = operations[op];
  const stranger = Object.keys(value).find((name) => name !== "id" && name !== "op" && !Object.hasOwn(fields, name));
  if (stranger !== undefined) return bad(`${op} has a field it does not know`, known);
  const request: Record<string, unknown> = { id: known, op };
  for (const [name, check] of Object.entries(fields)) {
    const checked = Object.hasOwn(value, name) ? check(value[name]) : undefined;
    if (checked === undefined) return bad(`${op}.${name} is missing or not what it may be`, known);
    request[name] = checked;
  }
  // The border: `operations` above is checked to name each operation, and each of its fields was checked just now.
  return { ok: true, request: request as Request };
}
