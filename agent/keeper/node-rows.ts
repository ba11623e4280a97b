// keeper · what the kernel's maps and links say of the programs of the node that are let in to pods, in the bytes of orlop_abi.h.
// The links of a cgroup are pinned in a folder named after its id, so that a later keeper knows whose they are.
import { endianness } from "node:os";
import { orlopNodeAccess } from "../abi.ts";
import type { Table } from "./pod-rows.ts";

export type Access = {
  /** Of the node's own network namespace. */
  readonly netnsCookie: bigint;
  /** Id; 0: pods are not known by a cgroup of their own. */
  readonly podsCgroup: bigint;
  /** Every process of that namespace outside that cgroup. */
  readonly everybody: boolean;
};

/** Links of the three programs on a cgroup. All calls may be repeated. */
export interface NodeLinks {
  attach(id: bigint, directory: string): void;
  detach(id: bigint): void;
  attached(): readonly bigint[];
}

export interface NodeRows extends NodeLinks {
  /** null: nobody is let in. */
  setAccess(access: Access | null): void;
  cgroups(): readonly bigint[];
  addCgroup(id: bigint): void;
  removeCgroup(id: bigint): void;
}

const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function nodeRows(tables: { readonly access: Table; readonly cgroups: Table }, links: NodeLinks): NodeRows {
  const keyOf = (id: bigint): Uint8Array => {
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, id, little);
    return key;
  };
  const present = new Uint8Array(4);
  view(present).setUint32(0, 1, little);
  return {
    ...links,
    setAccess: (access) => {
      const value = new Uint8Array(orlopNodeAccess.size);
      view(value).setBigUint64(orlopNodeAccess.netnsCookie, access?.netnsCookie ?? 0n, little);
      view(value).setBigUint64(orlopNodeAccess.podsCgroup, access?.podsCgroup ?? 0n, little);
      view(value).setUint32(orlopNodeAccess.everybody, access?.everybody ? 1 : 0, little);
      tables.access.put(new Uint8Array(4), value);
    },
    cgroups: () => tables.cgroups.keys().map((key) => view(key).getBigUint64(0, little)),
    addCgroup: (id) => tables.cgroups.put(keyOf(id), present),
    removeCgroup: (id) => void tables.cgroups.delete(keyOf(id)),
  };
}
