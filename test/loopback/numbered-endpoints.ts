// tests · endpoints of a Service on loopback, of which each answers with its own number, and a client that counts whose answers it gets.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import type { TestContext } from "node:test";
import type { SharingNode } from "./sharing-node.ts";

export type NumberedEndpoint = {
  readonly address: string;
  readonly port: number;
  /** What it answers from now on: its number, or another status with no body. */
  readonly answers: (status: number) => void;
  /** Its port refuses connections, and those that are open end. */
  readonly close: () => Promise<void>;
};

/** @param port 0: any that is free */
export async function numberedEndpoint(t: TestContext, nth: number, port = 0): Promise<NumberedEndpoint> {
  let status = 200;
  const server = http.createServer((_, response) => response.writeHead(status).end(status === 200 ? String(nth) : ""));
  server.keepAliveTimeout = 60_000;
  const address = `127.0.1.${nth + 1}`;
  await once(server.listen(port, address), "listening");
  const close = async (): Promise<void> => {
    const closed = once(server, "close");
    server.close().closeAllConnections();
    await closed;
  };
  t.after(() => server.listening && close());
  const answers = (next: number): void => {
    status = next;
  };
  return {
    address,
    port: (server.address() as net.AddressInfo).port,
    answers,
    close,
  };
}

export const numberedEndpoints = (t: TestContext, count: number): Promise<readonly NumberedEndpoint[]> =>
  Promise.all(Array.from({ length: count }, (_, nth) => numberedEndpoint(t, nth)));

type Heard = { readonly status: number; readonly nth: number };

/** The agent ends with the test. */
export function callerOf(t: TestContext) {
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return async (port: number, headers: Readonly<Record<string, string>> = {}): Promise<Heard> => {
    const request = http.get({ host: "127.0.0.1", port, agent, headers });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let body = "";
    for await (const part of response.setEncoding("utf8")) body += part;
    return { status: response.statusCode ?? 0, nth: Number(body) };
  };
}

/** Sends `count` requests, as many to each thread, `callers` at once. @returns how many each of `endpoints` has answered; none fails */
export async function counted(
  { ports }: Pick<SharingNode, "ports">,
  asked: ReturnType<typeof callerOf>,
  {
    count,
    callers,
    endpoints,
  }: {
    readonly count: number;
    readonly callers: number;
    readonly endpoints: number;
  },
): Promise<readonly number[]> {
  const got = Array.from({ length: endpoints }, () => 0);
  let sent = 0;
  const call = async (): Promise<void> => {
    while (sent < count) {
      const port = ports[sent % ports.length] ?? assert.fail();
      sent += 1;
      const { status, nth } = await asked(port);
      assert.equal(status, 200, `after ${sent}, ${got}`);
      got[nth] = (got[nth] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return got;
}
