// test vm · writes an initramfs: a cpio archive in the form "newc" (Linux, driver-api/early-userspace/buffer-format.rst).
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import path from "node:path";

export type Entry =
  | { readonly type: "directory"; readonly mode?: number }
  | { readonly type: "file"; readonly data: Buffer | { readonly file: string }; readonly mode?: number }
  | { readonly type: "link"; readonly to: string };

const types = { directory: 0o040000, file: 0o100000, link: 0o120000 } as const;

/** Entries by absolute path; directories above them are made. All of it is root's. */
export function writeArchive(target: string, entries: ReadonlyMap<string, Entry>): void {
  const fd = openSync(target, "w", 0o600);
  try {
    let inode = 1;
    for (const [name, entry] of withParents(entries)) writeEntry(fd, name.slice(1), entry, inode++);
    writeEntry(fd, "TRAILER!!!", { type: "file", data: Buffer.alloc(0), mode: 0 }, 0);
  } finally {
    closeSync(fd);
  }
}

/** The kernel makes no directory by itself, so each comes before what is in it. */
function withParents(entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Entry> {
  const all = new Map<string, Entry>();
  const add = (name: string): void => {
    if (name === "/" || all.has(name)) return;
    add(path.dirname(name));
    all.set(name, entries.get(name) ?? { type: "directory" });
  };
  for (const name of entries.keys()) add(name);
  return all;
}

function writeEntry(fd: number, name: string, entry: Entry, inode: number): void {
  const mode = entry.type === "link" ? 0o777 : (entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644));
  const data = dataOf(entry);
  const fields = [inode, types[entry.type] | mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  for (const part of [Buffer.from(head), data]) {
    writeSync(fd, part);
    writeSync(fd, Buffer.alloc((4 - (part.length % 4)) % 4));
  }
}

function dataOf(entry: Entry): Buffer {
  if (entry.type === "directory") return Buffer.alloc(0);
  if (entry.type === "link") return Buffer.from(entry.to);
  return Buffer.isBuffer(entry.data) ? entry.data : readFileSync(entry.data.file);
}
