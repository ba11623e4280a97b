// any thread · can this node carry the mesh? Readings of the machine, then one small pure check each (ORL1xxx).
// Reads /proc, /sys and Node's own versions; changes nothing. What only loading can tell, the keeper reports.
import { accessSync, existsSync, readFileSync } from "node:fs";
import { cgroupReader } from "./cgroup-files.ts";
import { cgroup2Mounts, type PodsCgroup, podsCgroup } from "./cgroup-tree.ts";
import { cgroup2Mount, mountsOf } from "./mounts.ts";

export type Finding = {
  readonly code: string;
  /** "info": nothing is wrong, and an operator may want to know it. */
  readonly status: "ok" | "info" | "warn" | "fail";
  readonly what: string;
  /** Both empty when all is well. */
  readonly why: string;
  readonly fix: string;
};

export type PreflightOptions = {
  readonly bpffs: string;
  /** A directory, or "auto". */
  readonly podsCgroup: string;
  /** Listening ports of the agent on the node itself: metrics and readiness. */
  readonly ports: readonly number[];
};

/** Everything the checks look at. null: could not be read. */
export type Readings = {
  readonly options: PreflightOptions;
  readonly release: string;
  readonly btf: boolean;
  readonly mountinfo: string;
  /** Where the pods' cgroup was found, or what keeps it from being found; of a directory that is named, whether it exists. */
  readonly podsCgroup: PodsCgroup;
  /** CapEff of this process. */
  readonly effective: bigint | null;
  readonly jit: string | null;
  /** Hard limit of open files. */
  readonly openFiles: number | null;
  /** Bytes that a process without CAP_IPC_LOCK may lock: the soft limit, as `mlock` reads it; Infinity: no limit. */
  readonly lockedBytes: number | null;
  readonly lockdown: string | null;
  readonly rpFilterAll: string | null;
  readonly rpFilterDefault: string | null;
  readonly ipv6Disabled: string | null;
  readonly somaxconn: string | null;
  /** Ports that some socket of this network namespace listens on. */
  readonly listening: readonly number[];
  readonly versions: { readonly node: string; readonly openssl: string; readonly nghttp2: string };
};

type Check = (readings: Readings) => Finding;

const ok = (code: string, what: string): Finding => ({ code, status: "ok", what, why: "", fix: "" });
const warn = (code: string, what: string, why: string, fix: string): Finding => ({
  code,
  status: "warn",
  what,
  why,
  fix,
});
const fail = (code: string, what: string, why: string, fix: string): Finding => ({
  code,
  status: "fail",
  what,
  why,
  fix,
});

/** "6.18.44-fc" → [6, 18]; undefined: no version at its head. */
function majorMinor(text: string): readonly [number, number] | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}
const atLeast = (text: string, major: number, minor: number): boolean => {
  const version = majorMinor(text);
  return version !== undefined && (version[0] > major || (version[0] === major && version[1] >= minor));
};

export const checkKernel: Check = ({ release }) => {
  const name = `kernel ${release || "unknown"}`;
  if (!atLeast(release, 5, 15)) {
    const why = "below 5.15 a socket hook cannot ask for its network namespace, and the programs do not load";
    return fail("ORL1001", name, why, "boot 5.18 or newer");
  }
  if (!atLeast(release, 5, 18)) {
    return warn(
      "ORL1001",
      name,
      "below 5.18 a refused connect reads EPERM instead of ECONNREFUSED",
      "boot 5.18 or newer",
    );
  }
  return ok("ORL1001", name);
};

export const checkBtf: Check = ({ btf }) =>
  btf
    ? ok("ORL1002", "BTF at /sys/kernel/btf/vmlinux")
    : fail(
        "ORL1002",
        "no BTF at /sys/kernel/btf/vmlinux",
        "the socket storage of the programs is described with it",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
      );

export const checkCgroup2: Check = ({ mountinfo }) => {
  const mount = cgroup2Mount(mountinfo);
  return mount === undefined
    ? fail(
        "ORL1003",
        "no cgroup v2 mount",
        "the hooks attach to cgroups of version 2; version 1 has none",
        "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified",
      )
    : ok("ORL1003", `cgroup v2 at ${mount}`);
};

const below = (path: string, root: string): boolean =>
  path === root || path.startsWith(root === "/" ? "/" : `${root}/`);

export const checkPodsCgroup: Check = ({ mountinfo, options, podsCgroup: found }) => {
  const isNamed = options.podsCgroup !== "auto";
  const name = found.state === "found" ? found.directory : options.podsCgroup;
  const what = `pods' cgroup ${name}`;
  const mounts = cgroup2Mounts(mountinfo).map(({ point }) => point);
  const unseen = "it does not lie in the cgroup v2 tree, so no hook would ever see a pod";
  if (mounts.length === 0) return fail("ORL1004", what, unseen, "mount cgroup v2 first");
  if (found.state === "several") {
    const why = `there are ${found.directories.join(", ")}, and nobody can say which is this node's`;
    return fail("ORL1004", what, why, "name one of them in spec.podsCgroup");
  }
  if (isNamed && !mounts.some((mount) => below(name, mount)))
    return fail("ORL1004", what, unseen, `set spec.podsCgroup to a directory below ${mounts.join(" or ")}`);
  if (found.state === "found") return ok("ORL1004", what);
  return isNamed
    ? warn(
        "ORL1004",
        `${what} does not exist`,
        "the keeper waits for the ancestor of all pods",
        "start a pod, or name the right directory in spec.podsCgroup",
      )
    : fail(
        "ORL1004",
        `${what}: there is no kubepods below ${mounts.join(" or ")}`,
        "the keeper has nothing to attach its hooks to, and does not start",
        "mount the node's /sys/fs/cgroup into the pod, or name the directory in spec.podsCgroup",
      );
};

export const checkBpffs: Check = ({ mountinfo, options }) =>
  mountsOf(mountinfo, "bpf").includes(options.bpffs)
    ? ok("ORL1005", `bpffs at ${options.bpffs}`)
    : warn(
        "ORL1005",
        `no bpffs at ${options.bpffs}`,
        "programs and maps are pinned there to outlive the keeper; it mounts one itself if it may",
        `mount -t bpf bpf ${options.bpffs}`,
      );

const needed: readonly [string, bigint][] = [
  ["CAP_NET_ADMIN", 12n],
  ["CAP_SYS_PTRACE", 19n],
  ["CAP_SYS_ADMIN", 21n],
  ["CAP_BPF", 39n],
];

export const checkCapabilities: Check = ({ effective }) => {
  if (effective === null)
    return fail("ORL1006", "capabilities unknown", "/proc/self/status could not be read", "mount /proc");
  const missing = needed.filter(([, bit]) => (effective & (1n << bit)) === 0n).map(([name]) => name);
  return missing.length === 0
    ? ok("ORL1006", "capabilities BPF NET_ADMIN SYS_ADMIN SYS_PTRACE (keeper only; the agent has none)")
    : fail(
        "ORL1006",
        `missing ${missing.join(" ")}`,
        "the keeper loads programs and enters pods' namespaces",
        "run the keeper, or this check, as root",
      );
};

export const checkJit: Check = ({ jit }) => {
  if (jit === "1" || jit === "2") return ok("ORL1007", "BPF JIT on");
  // With CONFIG_BPF_JIT_ALWAYS_ON the sysctl may be hidden from a network namespace.
  if (jit === null) return ok("ORL1007", "BPF JIT not switchable here");
  return warn(
    "ORL1007",
    "BPF JIT off",
    "every connect and packet to a listener runs interpreted, several times slower",
    "sysctl -w net.core.bpf_jit_enable=1",
  );
};

/** Two descriptors for each proxied connection, and room for tunnels, listeners and pools. */
const WANTED_OPEN_FILES = 65_536;

export const checkOpenFiles: Check = ({ openFiles }) => {
  if (openFiles === null)
    return warn("ORL1008", "limit of open files unknown", "/proc/self/limits could not be read", "mount /proc");
  const what = `open files: at most ${openFiles}`;
  if (openFiles >= WANTED_OPEN_FILES) return ok("ORL1008", what);
  const why = `each proxied connection takes two; beyond ${Math.floor(openFiles / 2)} new ones are shed`;
  return warn("ORL1008", what, why, `ulimit -Hn ${WANTED_OPEN_FILES}, or LimitNOFILE= of the unit`);
};

export const checkLockdown: Check = ({ lockdown }) => {
  const mode = /\[(\w+)\]/.exec(lockdown ?? "")?.[1] ?? "none";
  return ok("ORL1009", `lockdown ${mode}: no program of Orlop reads kernel memory, so none is affected`);
};

export const checkRpFilter: Check = ({ rpFilterAll, rpFilterDefault }) => {
  if (rpFilterAll !== "1" && rpFilterDefault !== "1") return ok("ORL1010", "reverse path filter not strict");
  const why = "new pods inherit it; a strict filter may drop what the application answers to a client on this node";
  return warn(
    "ORL1010",
    "reverse path filter strict (net.ipv4.conf.{all,default}.rp_filter=1)",
    why,
    "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.default.rp_filter=2",
  );
};

export const checkPorts: Check = ({ listening, options }) => {
  const taken = options.ports.filter((port) => port !== 0 && listening.includes(port));
  return taken.length === 0
    ? ok("ORL1011", `ports ${options.ports.join(", ")} free`)
    : warn(
        "ORL1011",
        `port ${taken.join(", ")} in use`,
        "metrics and readiness are served there; fine if this is Orlop itself",
        "choose others in spec.metrics and spec.ready, or stop what listens: ss -ltnp",
      );
};

export const checkIpv6: Check = ({ ipv6Disabled }) =>
  ipv6Disabled === "0"
    ? ok("ORL1012", "IPv6 on")
    : warn(
        "ORL1012",
        "IPv6 off on this node",
        "pods with IPv6 addresses cannot be enrolled",
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0, if pods use it",
      );

export const checkBacklog: Check = ({ somaxconn }) =>
  somaxconn !== null && Number(somaxconn) >= 4096
    ? ok("ORL1013", `net.core.somaxconn ${somaxconn}`)
    : warn(
        "ORL1013",
        `net.core.somaxconn ${somaxconn ?? "unknown"}`,
        "connections wait at held listeners while the agent restarts; a shorter queue refuses sooner",
        "sysctl -w net.core.somaxconn=4096",
      );

export const checkRuntime: Check = ({ versions }) => {
  const what = `Node ${versions.node}, OpenSSL ${versions.openssl}, nghttp2 ${versions.nghttp2}`;
  if (!atLeast(versions.node, 24, 0)) {
    return fail(
      "ORL1014",
      what,
      "TypeScript runs as it is from Node 24 on; 20 leaks HTTP/2 sessions under attack",
      "use the Node that make installs: node_modules/.bin/node",
    );
  }
  if (!atLeast(versions.openssl, 3, 5)) {
    return warn(
      "ORL1014",
      what,
      "X25519MLKEM768 needs OpenSSL 3.5: key exchange falls back to X25519",
      "use a newer Node",
    );
  }
  return ok("ORL1014", what);
};

/** Of the table of record secrets (native/engine/records). */
const LOCKED_BYTES = 2 * 1024 * 1024;
const CAP_IPC_LOCK = 14n;

export const checkLockedMemory: Check = ({ lockedBytes, effective }) => {
  const remedy = "ulimit -l 8192, or LimitMEMLOCK=8M of the unit; or set tls.recordLayer: openssl";
  if (lockedBytes === null)
    return warn("ORL1015", "limit of locked memory unknown", "/proc/self/limits could not be read", "mount /proc");
  const what = `locked memory: at most ${Number.isFinite(lockedBytes) ? `${lockedBytes} bytes` : "any"}`;
  if (lockedBytes >= LOCKED_BYTES) return ok("ORL1015", what);
  const why = `the agent locks ${LOCKED_BYTES} bytes for the secrets of its tunnels, and does not start where it may not`;
  const mayLock = effective !== null && (effective & (1n << CAP_IPC_LOCK)) !== 0n;
  // It may lock whatever it likes, and the agent, which has no capability, may not.
  return mayLock
    ? warn("ORL1015", `${what}, but for CAP_IPC_LOCK`, `${why}; it has no capability`, remedy)
    : fail("ORL1015", what, why, remedy);
};

const checks: readonly Check[] = [
  checkKernel,
  checkBtf,
  checkCgroup2,
  checkPodsCgroup,
  checkBpffs,
  checkCapabilities,
  checkJit,
  checkOpenFiles,
  checkLockdown,
  checkRpFilter,
  checkPorts,
  checkIpv6,
  checkBacklog,
  checkRuntime,
  checkLockedMemory,
];

/** Every check, in the order of its code. Pure. */
export const judge = (readings: Readings): Finding[] => checks.map((check) => check(readings));

/** Kernel types, cgroup tree, bpffs and capabilities: an agent's container has none of them, and needs none. */
const keepersAlone: readonly string[] = ["ORL1002", "ORL1003", "ORL1004", "ORL1005", "ORL1006"];

/** Whether the process that looked has no privilege of the keeper's at all. */
export const lacksPrivilege = (findings: readonly Finding[]): boolean =>
  findings.some(
    ({ code, what }) =>
      code === "ORL1006" && needed.every(([name]) => what.includes(name)) && what.startsWith("missing"),
  );

/** The findings as they bear on an agent's container: what only the keeper's has cannot be judged from there. */
export const asSeenByAgent = (findings: readonly Finding[]): readonly Finding[] =>
  findings.map((finding) =>
    finding.status === "ok" || !keepersAlone.includes(finding.code)
      ? finding
      : {
          ...finding,
          status: "info",
          why: "this is no process of the keeper's: what the keeper has cannot be seen from here",
          fix: "run orlop check in the keeper's container, or as root on the node",
        },
  );

/** Ports of listening sockets in the text of /proc/net/tcp or tcp6: state 0A, local address ends in :PORT (hex). */
export function listeningPorts(text: string): number[] {
  return text.split("\n").flatMap((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const port = /:([0-9A-F]{4})$/.exec(local)?.[1];
    return state === "0A" && port !== undefined ? [Number.parseInt(port, 16)] : [];
  });
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null; // Absent or forbidden is a reading too; the check says what it means.
  }
}

function readable(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false; // As above.
  }
}

function podsCgroupOf(configured: string, mountinfo: string): PodsCgroup {
  if (configured === "auto")
    return podsCgroup({ mountinfo, procCgroup: textOf("/proc/self/cgroup") ?? "" }, cgroupReader);
  return existsSync(configured) ? { state: "found", directory: configured } : { state: "absent", looked: [configured] };
}

/** Looks at this node. Never throws. */
export function readNode(options: PreflightOptions): Readings {
  const capEff = /^CapEff:\s*([0-9a-f]+)$/m.exec(textOf("/proc/self/status") ?? "")?.[1];
  const openFiles = /^Max open files\s+\S+\s+(\d+)/m.exec(textOf("/proc/self/limits") ?? "")?.[1];
  const locked = /^Max locked memory\s+(\S+)/m.exec(textOf("/proc/self/limits") ?? "")?.[1];
  const mountinfo = textOf("/proc/self/mountinfo") ?? "";
  const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => textOf(path) ?? "");
  return {
    options,
    release: textOf("/proc/sys/kernel/osrelease") ?? "",
    btf: readable("/sys/kernel/btf/vmlinux"),
    mountinfo,
    podsCgroup: podsCgroupOf(options.podsCgroup, mountinfo),
    effective: capEff === undefined ? null : BigInt(`0x${capEff}`),
    jit: textOf("/proc/sys/net/core/bpf_jit_enable"),
    openFiles: openFiles === undefined ? null : Number(openFiles),
    lockedBytes: locked === undefined ? null : locked === "unlimited" ? Number.POSITIVE_INFINITY : Number(locked),
    lockdown: textOf("/sys/kernel/security/lockdown"),
    rpFilterAll: textOf("/proc/sys/net/ipv4/conf/all/rp_filter"),
    rpFilterDefault: textOf("/proc/sys/net/ipv4/conf/default/rp_filter"),
    ipv6Disabled: textOf("/proc/sys/net/ipv6/conf/all/disable_ipv6"),
    somaxconn: textOf("/proc/sys/net/core/somaxconn"),
    listening: [...new Set(tables.flatMap(listeningPorts))],
    versions: {
      node: process.versions.node,
      openssl: process.versions.openssl ?? "",
      nghttp2: process.versions.nghttp2 ?? "",
    },
  };
}
