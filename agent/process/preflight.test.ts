// preflight.ts: each check on readings that must pass, warn or fail, and the reader on the machine it runs on.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import {
  asSeenByAgent,
  type Finding,
  judge,
  lacksPrivilege,
  listeningPorts,
  type Readings,
  readNode,
} from "./preflight.ts";

const mountinfo = [
  "24 1 0:22 / /proc rw,nosuid - proc proc rw",
  "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
  "31 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw",
  "32 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu",
  "40 24 0:30 / /sys/fs/bpf rw - bpf bpf rw,mode=700",
  "41 24 0:31 / /mnt/with\\040blank rw - bpf bpf rw",
].join("\n");

const good = {
  options: { bpffs: "/sys/fs/bpf", podsCgroup: "/sys/fs/cgroup/unified/pods", ports: [15020, 15021] },
  release: "6.18.4-generic",
  btf: true,
  mountinfo,
  podsCgroup: { state: "found", directory: "/sys/fs/cgroup/unified/pods" },
  effective: (1n << 12n) | (1n << 19n) | (1n << 21n) | (1n << 39n),
  jit: "1",
  openFiles: 1_048_576,
  lockedBytes: 8_388_608,
  lockdown: "none [integrity] confidentiality",
  rpFilterAll: "0",
  rpFilterDefault: "2",
  ipv6Disabled: "0",
  somaxconn: "4096",
  listening: [22, 8080],
  versions: { node: "24.21.0", openssl: "3.5.8", nghttp2: "1.70.0" },
} as const satisfies Readings;

const judged = (over: Partial<Readings>): Finding[] => judge({ ...good, ...over });

test("in an agent's container what only the keeper has is to know, and all else is judged", () => {
  const agents = judged({ effective: 0n, btf: false, mountinfo: "", release: "5.10.0" });
  assert.equal(lacksPrivilege(agents), true);
  assert.equal(lacksPrivilege(judged({ effective: 1n << 12n })), false, "some of it is a keeper that lacks the rest");
  assert.equal(lacksPrivilege(judge(good)), false);
  const seen = asSeenByAgent(agents);
  const codes = (status: Finding["status"]): readonly string[] =>
    seen.filter((finding) => finding.status === status).map(({ code }) => code);
  assert.deepEqual(codes("info"), ["ORL1002", "ORL1003", "ORL1004", "ORL1005", "ORL1006"]);
  assert.deepEqual(codes("fail"), ["ORL1001"]);
  assert.deepEqual(asSeenByAgent(judge(good)), judge(good));
});

test("a good node has nothing to mend", () => {
  for (const finding of judge(good)) {
    assert.partialDeepStrictEqual(finding, { status: "ok", why: "", fix: "" });
    assert.notEqual(finding.what, "");
  }
});

const options = good.options;
const absent = { state: "absent", looked: ["/sys/fs/cgroup/unified"] } as const;
const several = { state: "several", directories: ["/sys/fs/cgroup/a/kubepods", "/sys/fs/cgroup/b/kubepods"] } as const;
const named = (directory: string): Partial<Readings> => ({
  options: { ...options, podsCgroup: directory },
  podsCgroup: { state: "found", directory },
});
const bad: readonly (readonly [code: string, status: Finding["status"], over: Partial<Readings>])[] = [
  ["ORL1001", "fail", { release: "5.4.0" }],
  ["ORL1001", "fail", { release: "" }],
  ["ORL1001", "fail", { release: "5.10.0-28-amd64" }],
  ["ORL1001", "warn", { release: "5.15.0" }],
  ["ORL1002", "fail", { btf: false }],
  ["ORL1003", "fail", { mountinfo: "" }],
  ["ORL1004", "fail", named("/sys/fs/cgroup/cpu/pods")],
  ["ORL1004", "fail", named("/sys/fs/cgroup/unifiedpods")],
  ["ORL1004", "fail", { ...named("/sys/fs/cgroup"), mountinfo: "" }],
  ["ORL1004", "warn", { podsCgroup: absent }],
  ["ORL1004", "fail", { options: { ...options, podsCgroup: "auto" }, podsCgroup: absent }],
  ["ORL1004", "fail", { options: { ...options, podsCgroup: "auto" }, podsCgroup: several }],
  ["ORL1005", "warn", { options: { ...options, bpffs: "/run/bpf" } }],
  ["ORL1006", "fail", { effective: 1n << 12n }],
  ["ORL1006", "fail", { effective: null }],
  ["ORL1007", "warn", { jit: "0" }],
  ["ORL1008", "warn", { openFiles: 1024 }],
  ["ORL1008", "warn", { openFiles: null }],
  ["ORL1010", "warn", { rpFilterAll: "1" }],
  ["ORL1010", "warn", { rpFilterDefault: "1" }],
  ["ORL1011", "warn", { listening: [15021] }],
  ["ORL1012", "warn", { ipv6Disabled: "1" }],
  ["ORL1012", "warn", { ipv6Disabled: null }],
  ["ORL1013", "warn", { somaxconn: "128" }],
  ["ORL1014", "fail", { versions: { ...good.versions, node: "20.20.0" } }],
  ["ORL1014", "warn", { versions: { ...good.versions, openssl: "3.0.19" } }],
  ["ORL1015", "fail", { lockedBytes: 65_536 }],
  ["ORL1015", "fail", { lockedBytes: 65_536, effective: null }],
  ["ORL1015", "warn", { lockedBytes: 65_536, effective: good.effective | (1n << 14n) }],
  ["ORL1015", "warn", { lockedBytes: null }],
];
for (const [code, status, over] of bad) {
  test(`${code} is ${status} for ${Object.keys(over).join(", ")}, with reason and remedy`, () => {
    const finding = judged(over).find((finding) => finding.code === code);
    assert.equal(finding?.status, status);
    assert.notEqual(finding?.why, "");
    assert.notEqual(finding?.fix, "");
  });
}

test("only listening sockets count", () => {
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "   0: 0100007F:3AAC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0",
    "   1: 0100007F:0016 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0",
    "   2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1",
  ].join("\n");
  assert.deepEqual(listeningPorts(table), [15020, 8080]);
});

test("this machine can be read", () => {
  const readings = readNode({ bpffs: "/sys/fs/bpf", podsCgroup: "/nowhere", ports: [] });
  assert.match(readings.release, /^\d+\.\d+/);
  assert.equal(judge(readings).length, 15);
});

test("a process whose limit of locked memory is lowered reads that limit, and none where there is none", () => {
  const program = `import { readNode } from ${JSON.stringify(new URL("preflight.ts", import.meta.url).href)};
    console.log(readNode({ bpffs: "/sys/fs/bpf", podsCgroup: "/nowhere", ports: [] }).lockedBytes);`;
  const read = (kibibytes: string): string =>
    execFileSync("sh", ["-c", `ulimit -S -l ${kibibytes}; exec "$@"`, "sh", process.execPath, "-e", program], {
      encoding: "utf8",
    }).trim();
  assert.deepEqual([read("64"), read("0")], ["65536", "0"]);
});
