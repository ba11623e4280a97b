// test cluster · the cluster's DNS, asked by Node's own resolver.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, test } from "node:test";
import { answerStream, answerTo } from "./dns.ts";

const services = new Map([["shop/api", ["10.96.3.4", "fd96::3:4"]]]);
const socket = createSocket("udp4");
socket.on("message", async (message, { address, port }) => {
  const answer = await answerTo(message, async (namespace, name) => services.get(`${namespace}/${name}`));
  if (answer !== undefined) socket.send(answer, port, address);
});
socket.bind(0, "127.0.0.1");
await once(socket, "listening");
after(() => socket.close());
const resolver = new Resolver();
resolver.setServers([`127.0.0.1:${socket.address().port}`]);

test("a Service has its addresses of both families", async () => {
  assert.deepEqual(await resolver.resolve4("api.shop.svc.cluster.local"), ["10.96.3.4"]);
  assert.deepEqual(await resolver.resolve6("api.shop.svc.cluster.local"), ["fd96::3:4"]);
});

test("other names do not exist", async () => {
  for (const name of ["web.shop.svc.cluster.local", "api.shop", "api.shop.svc.cluster.local.shop.svc.cluster.local"])
    await assert.rejects(resolver.resolve4(name), { code: "ENOTFOUND" }, name);
});

test("over TCP questions are answered in their order", async () => {
  const server = createServer((client) => void answerStream(client, async () => ["10.96.3.4"]));
  server.listen(0, "127.0.0.1");
  after(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect(port, "127.0.0.1");
  const question = (id: number): Buffer => {
    const name = "\x03api\x04shop\x03svc\x07cluster\x05local\x00";
    const message = Buffer.from(
      `\x00${String.fromCharCode(id)}\x01\x00\x00\x01${"\0".repeat(6)}${name}\x00\x01\x00\x01`,
      "latin1",
    );
    return Buffer.concat([Buffer.from([0, message.length]), message]);
  };
  client.write(Buffer.concat([question(7), question(8).subarray(0, 9)]));
  const answers: Buffer[] = [];
  const size = question(0).length + 16;
  client.on("data", (bytes) => {
    answers.push(bytes);
    const length = Buffer.concat(answers).length;
    if (length === size) client.write(question(8).subarray(9));
    if (length === 2 * size) client.end();
  });
  await once(client, "close");
  const all = Buffer.concat(answers);
  assert.deepEqual([all[3], all[size + 3]], [7, 8]);
  assert.deepEqual([...all.subarray(size - 4, size)], [10, 96, 3, 4]);
});

test("what is no question gets no answer", async () => {
  for (const bytes of [[], Array(12).fill(0), [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 97]])
    assert.equal(await answerTo(Buffer.from(bytes), async () => []), undefined);
});
