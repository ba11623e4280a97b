// What `orlop get services` counts, and what `orlop get connections` shows of a connection that is read, of others, and of a dump of an earlier version.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionView, ServiceView } from "../admin/api.ts";
import { connectionColumns, serviceColumns } from "./columns.ts";

const at = { address: "10.0.0.1", port: 80 };
const tcp: ConnectionView = {
  ...{ id: "0-1", openedAt: "2026-11-21T10:00:00Z", reporter: "source", direction: "outbound", namespace: "shop" },
  ...{ pod: "web", peer: "api", peerNamespace: "shop", source: at, destination: at, hbone: null, service: "" },
  ...{ protocol: "TCP", security: "mtls", sourceIdentity: "", destinationIdentity: "", verdict: "allow", unjudged: "" },
  ...{ policy: "", traceId: "", rttMs: null, retransmits: null, application: "tcp", requests: 0, openRequest: null },
};
const shown = (row: ConnectionView): readonly string[] =>
  ["APP", "REQS", "REQUEST"].map(
    (header) =>
      connectionColumns(Date.parse("2026-11-21T10:00:07Z"))
        .find((column) => column.header === header)
        ?.value(row) ?? "no column",
  );

test("protocol, requests and the request that is open", () => {
  const openRequest = { method: "GET", path: "/accounts/7", since: "2026-11-21T10:00:04Z" };
  assert.deepEqual(shown(tcp), ["tcp", "", ""]);
  assert.deepEqual(shown({ ...tcp, application: "http/1.1", requests: 0 }), ["http/1.1", "0", ""]);
  const open = { ...tcp, application: "http/1.1", requests: 1_234, openRequest } as const;
  assert.deepEqual(shown(open), ["http/1.1", "1,234", "GET /accounts/7 3s"]);
  assert.deepEqual(shown({ ...tcp, application: "websocket", requests: 2 }), ["websocket", "2", ""]);
  const { application, requests, openRequest: none, ...older } = tcp;
  assert.deepEqual(shown(older as ConnectionView), ["tcp", "", ""]);
});

test("a pod with an address of each family is one endpoint, and an address without a workload is one", () => {
  const endpoint = (workload: string, address: string, healthy = true) => ({ workload, address, healthy });
  const endpoints = [
    ...[endpoint("a", "10.0.0.1"), endpoint("a", "fd00::1")],
    ...[endpoint("b", "10.0.0.2", false), endpoint("b", "fd00::2", false)],
    ...[endpoint("", "10.9.9.9"), endpoint("", "10.9.9.10")],
  ];
  const service = { name: "s", namespace: "shop", hostname: "", vips: [], ports: [], endpoints, from: "" };
  const counted = serviceColumns.find(({ header }) => header === "ENDPOINTS")?.value(service satisfies ServiceView);
  assert.equal(counted, "3/4");
});
