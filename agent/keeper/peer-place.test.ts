// Who is the agent by where it runs, over texts of /proc. test/kernel/agent-place.test.ts asks the kernel.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type KeeperPlace, sharedDirectory, whyElsewhere } from "./peer-place.ts";

const mountinfo = [
  "20 1 8:1 / / rw - ext4 /dev/a rw",
  "21 20 0:25 / /run rw - tmpfs tmpfs rw",
  "22 20 0:26 / /proc rw - proc proc rw",
].join("\n");
/** As in the agent's container: the directory has a mount of its own. */
const given = "30 1 0:40 / / ro - overlay overlay ro\n31 30 0:25 /orlop-keeper /run/orlop-keeper ro - tmpfs tmpfs rw";
const keeper: KeeperPlace = {
  ...{ user: "user:[1]", mounts: "mnt:[1]", network: "net:[1]" },
  directory: { device: "0:25", root: "/orlop-keeper", point: "/run/orlop-keeper" },
};
const view = (mounts: string, text: string) => ({ user: "user:[1]", mounts, network: "net:[2]", mountinfo: text });

describe("why a process is not the agent", () => {
  const cases: readonly (readonly [what: string, peer: Parameters<typeof whyElsewhere>[1], why: RegExp | undefined])[] =
    [
      ["it is gone", undefined, /cannot be seen/],
      ["it is beside the keeper", { ...view("mnt:[1]", mountinfo), network: "net:[1]" }, undefined],
      ["it is a pod that shares the node's files", view("mnt:[1]", mountinfo), /another network namespace/],
      ["it is in a container with the directory", view("mnt:[2]", given), undefined],
      ["it could mount the directory itself", { ...view("mnt:[2]", given), user: "user:[2]" }, /user namespace/],
      ["it has the node's root", view("mnt:[2]", mountinfo.replaceAll(" /run ", " /host/run ")), /not given/],
      ["it has the node's /run", view("mnt:[2]", mountinfo), /not given/],
      [
        "the directory is at another place",
        view("mnt:[2]", given.replace(" /run/orlop-keeper", " /data")),
        /not given/,
      ],
      ["another directory is there", view("mnt:[2]", given.replace("/orlop-keeper /run", "/mine /run")), /not given/],
      ["another file system is there", view("mnt:[2]", given.replace("0:25", "0:41")), /not given/],
      [
        "another mount covers it",
        view("mnt:[2]", `${given}\n32 31 0:9 / /run/orlop-keeper rw - tmpfs t rw`),
        /not given/,
      ],
      ["its text is none", view("mnt:[2]", "\n \u0000"), /not given/],
    ];
  for (const [what, peer, why] of cases)
    test(what, () => {
      const said = whyElsewhere(keeper, peer);
      if (why === undefined) assert.equal(said, undefined);
      else assert.match(said ?? "", why);
    });
});

test("a directory is the same on the node, however the keeper sees it", () => {
  const inKeeper = "31 30 0:25 /orlop-keeper /run/orlop-keeper rw - tmpfs tmpfs rw";
  for (const [text, id] of [
    [mountinfo, 21],
    [inKeeper, 31],
  ] as const)
    assert.deepEqual(sharedDirectory(text, id, "/run/orlop-keeper"), keeper.directory);
  assert.equal(sharedDirectory(mountinfo, 20, "/srv/k").root, "/srv/k");
  assert.throws(() => sharedDirectory(mountinfo, 21, "/running"), /no mount/);
  assert.throws(() => sharedDirectory(mountinfo, 7, "/run/orlop-keeper"), /no mount/);
});
