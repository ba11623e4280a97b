// any thread · mounts in the text of /proc/<pid>/mountinfo (proc(5)). Pure; imports nothing.

export type Mount = {
  /** As /proc/<pid>/fdinfo names it in `mnt_id`. */
  readonly id: number;
  /** Of the file system: "major:minor". */
  readonly device: string;
  /** What of the file system is mounted: "/" is all of it. Of cgroups it is seen from our cgroup namespace, as "/../.." may be. */
  readonly root: string;
  /** The directory, with blanks and the like as they are. */
  readonly point: string;
  /** "cgroup2", "bpf", … */
  readonly type: string;
  /** What was mounted: a device, or a name that the mounter chose. */
  readonly source: string;
};

/** The kernel writes blank, tab, newline and backslash as three octal digits. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** In the order of the file: of two mounts on one directory the later one is seen. Lines of another form are left out. */
export function parseMountinfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    // A varying number of optional fields ends with " - ".
    const [front = "", back = ""] = line.split(" - ");
    const [id, , device = "", root, point] = front.split(" ");
    const [type, source = ""] = back.split(" ");
    if (root === undefined || point === undefined || !type) return [];
    const names = { root: unescaped(root), point: unescaped(point), source: unescaped(source) };
    return [{ id: Number(id), device, ...names, type }];
  });
}

/** Directories on which file systems of that type are mounted. */
export const mountsOf = (mountinfo: string, type: string): string[] =>
  parseMountinfo(mountinfo).flatMap((mount) => (mount.type === type ? [mount.point] : []));

/** Where systemd mounts cgroup v2 alone; beside version 1 it is at `unified` below, and the directory itself is a tmpfs. */
const USUAL_CGROUPS = "/sys/fs/cgroup";

/** Where cgroup v2 is mounted, hybrid layouts included: at the usual place, or else the first; undefined: nowhere. */
export function cgroup2Mount(mountinfo: string): string | undefined {
  const mounts = mountsOf(mountinfo, "cgroup2");
  return mounts.includes(USUAL_CGROUPS) ? USUAL_CGROUPS : mounts[0];
}
