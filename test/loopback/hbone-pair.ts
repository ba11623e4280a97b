// tests · two engines, a client's and a server's, with an HBONE tunnel between them: pod 1 dials, pod 2 serves.
import { X509Certificate } from "node:crypto";
import { installIdentity, installRoots, useOwnRecords } from "../../agent/engine/addon.ts";
import type { Answer } from "../../agent/engine/answers.ts";
import type { EngineEvent } from "../../agent/engine/events.ts";
import { TestCa } from "./certificates.ts";
import { type Decide, TestEngine } from "./test-engine.ts";

export const clientId = "spiffe://cluster.local/ns/default/sa/client";
export const serverId = "spiffe://cluster.local/ns/default/sa/server";
export const CLIENT = 101;
export const SERVER = 102;

const ca = await TestCa.create();
export const clientLeaf = await ca.leaf(clientId);
export const serverLeaf = await ca.leaf(serverId);
export { ca };

/** As agents have it. The environment may ask for OpenSSL's record layer, so that one test holds both to the same. */
useOwnRecords(process.env.ORLOP_TEST_RECORD_LAYER !== "openssl");

/** Installs roots and both identities afresh: tests of one process share the registry. */
export function installBoth(): void {
  installRoots(ca.pem);
  installIdentity(CLIENT, clientLeaf.chainPem, clientLeaf.pkcs8);
  installIdentity(SERVER, serverLeaf.chainPem, serverLeaf.pkcs8);
}

export const refOf = ({ conn, generation }: { conn: number; generation: number }) => ({ conn, generation });

/** The answer a friendly peer check gives. */
export function welcome(event: EngineEvent, expected: string): Answer | undefined {
  if (event.type !== "peer-certificate") return undefined;
  const names = new X509Certificate(event.leaf).subjectAltName;
  return names === `URI:${expected}`
    ? { ...refOf(event), type: "peer", peerIdentity: 7 }
    : { ...refOf(event), type: "reject-peer" };
}

/** Tunnels everything accepted to 127.0.0.1:`hbonePort`. */
export function clientEngine(hbonePort: () => number, before?: Decide): TestEngine {
  const under = new TestEngine((event, engine) => {
    const answer = before?.(event, engine);
    if (answer) return answer;
    if (event.type === "accepted") {
      return {
        ...refOf(event),
        type: "tunnel",
        to: { address: "127.0.0.1", port: hbonePort() },
        identity: CLIENT,
        expect: 1,
        authority: "127.0.0.1:80",
        baggage: "k8s.namespace.name=default",
        forwarded: 'for="10.0.0.1:1234"',
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
      };
    }
    return welcome(event, serverId);
  });
  under.engine.setPod(1, { netnsCookie: 1n, identity: CLIENT });
  return under;
}

/** Dials 127.0.0.1:`appPort` for every CONNECT. */
export function serverEngine(appPort: () => number, before?: Decide): TestEngine {
  const under = new TestEngine((event, engine) => {
    const answer = before?.(event, engine);
    if (answer) return answer;
    if (event.type === "connect-request") {
      return {
        ...refOf(event),
        type: "dial",
        podIdx: 2,
        to: { address: "127.0.0.1", port: appPort() },
        from: null,
        baggage: "k8s.namespace.name=server",
      };
    }
    return welcome(event, clientId);
  });
  under.engine.setPod(2, { netnsCookie: 2n, identity: SERVER });
  return under;
}

export type Pair = {
  readonly client: TestEngine;
  readonly server: TestEngine;
  readonly port: number;
  readonly hbonePort: number;
} & Disposable;

/** A ready pair; connections to `port` come out at `appPort`. */
export function pair(appPort: number, options: { readonly client?: Decide; readonly server?: Decide } = {}): Pair {
  installBoth();
  const server = serverEngine(() => appPort, options.server);
  const hbone = server.listen(2, "hbone");
  const client = clientEngine(() => hbone, options.client);
  return {
    client,
    server,
    hbonePort: hbone,
    port: client.listen(1, "outbound"),
    [Symbol.dispose]() {
      client[Symbol.dispose]();
      server[Symbol.dispose]();
    },
  };
}
