// A pod may dial any port it likes, ours too: nothing answers that was not meant for it (E1).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const places = {
  "its own loopback": () => ["127.0.0.1", "::1", "::ffff:127.0.0.1"],
  "its own address": () => [journey.cluster.pod("web").ip4, journey.cluster.pod("web").ip6],
  "a pod of its node": () => [journey.cluster.pod("cache").ip4, journey.cluster.pod("cache").ip6],
  "a pod of another node": () => [journey.cluster.pod("vault").ip4, journey.cluster.pod("vault").ip6],
  "a pod outside the mesh": () => [journey.cluster.pod("legacy").ip4],
};

describe("a pod of the mesh that dials", () => {
  for (const [place, hosts] of Object.entries(places)) {
    for (const port of [15_001, 15_006]) {
      test(`${port} of ${place} gets no answer and no hang`, async () => {
        for (const host of hosts()) {
          const result = await call(journey.cluster.pod("web"), { host, port });
          assert.equal(result.reply, undefined, `${host}: ${JSON.stringify(result)}`);
          assert.notEqual(result.error, "timeout", host);
        }
      });
    }
  }
});

describe("a pod of the mesh that binds a port and no address before it dials", () => {
  const bound = (any: string, port: number, host: string): string => `
import socket
s = socket.socket(socket.AF_INET6 if ":" in "${any}" else socket.AF_INET); s.settimeout(5)
s.bind(("${any}", ${port})); s.connect(("${host}", 8080)); s.send(b"hello\\n")
print("answered" if s.recv(1) else "closed")`;
  for (const any of ["0.0.0.0", "::"]) {
    for (const port of [0, 7_100]) {
      test(`${any} port ${port} reaches pods of its node and of another one`, async () => {
        const family = any === "::" ? "ip6" : "ip4";
        for (const name of ["cache", "vault"]) {
          const host = journey.cluster.pod(name)[family];
          const done = await journey.cluster.pod("web").run(["python3", "-c", bound(any, port, host)]);
          assert.equal(done.stdout.trim(), "answered", `${name}: ${done.stderr}`);
        }
      });
    }
  }
});

describe("a pod outside the mesh that dials", () => {
  for (const port of [15_001, 15_006]) {
    test(`${port} of a pod of the mesh gets no answer and no hang`, async () => {
      for (const host of [journey.cluster.pod("vault").ip4, journey.cluster.pod("api").ip6]) {
        const result = await call(journey.cluster.pod("legacy"), { host, port });
        assert.equal(result.reply, undefined, `${host}: ${JSON.stringify(result)}`);
        assert.notEqual(result.error, "timeout", host);
      }
    });
  }
});
