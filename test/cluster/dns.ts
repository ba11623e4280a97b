// test cluster · the cluster's DNS: A and AAAA of Services, as Kubernetes' DNS specification names them, asked of the API server each time.
//   node dns.ts KUBECONFIG ADDRESS PORT
import { createSocket } from "node:dgram";
import { createServer, isIPv6, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { ask } from "./api.ts";

const TYPES = new Map([
  [1, 4],
  [28, 6],
]);
const HEADER = 12;
const NAME_ERROR = 3;
const TTL_SECONDS = 1;

/** Addresses of a Service; undefined: there is none of that name. */
type AddressesOf = (namespace: string, service: string) => Promise<readonly string[] | undefined>;

/** The answer to a message of one question (RFC 1035 §4.1); undefined: it is none. */
export async function answerTo(message: Buffer, addressesOf: AddressesOf): Promise<Buffer | undefined> {
  const question = questionOf(message);
  if (question === undefined) return undefined;
  const [service = "", namespace = "", ...zone] = question.labels;
  const isService = zone.join(".").toLowerCase() === "svc.cluster.local";
  const found = isService ? await addressesOf(namespace, service) : undefined;
  const family = TYPES.get(question.type);
  const records = (found ?? []).filter((address) => (isIPv6(address) ? 6 : 4) === family).map(recordOf);
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(message.readUInt16BE(0), 0);
  // A response, with authority, to a question that may ask for recursion.
  header.writeUInt16BE(0x8480 | (message.readUInt16BE(2) & 0x0100) | (found === undefined ? NAME_ERROR : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, message.subarray(HEADER, question.end), ...records]);
}

function questionOf(message: Buffer): { labels: readonly string[]; type: number; end: number } | undefined {
  if (message.length < HEADER || message.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = HEADER;
  for (let length = message[at] ?? 64; length > 0; length = message[at] ?? 64) {
    if (length > 63 || at + 1 + length > message.length) return undefined;
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const end = at + 5;
  return end > message.length ? undefined : { labels, type: message.readUInt16BE(at + 1), end };
}

/** Its name is that of the question, by a pointer. */
function recordOf(address: string): Buffer {
  const data = bytesOf(address);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc000 | HEADER, 0);
  record.writeUInt16BE(data.length === 4 ? 1 : 28, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(TTL_SECONDS, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([record, data]);
}

function bytesOf(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const [left = "", right] = address.split("::");
  const words = (text: string): readonly string[] => (text === "" ? [] : text.split(":"));
  const [head, rest] = [words(left), words(right ?? "")];
  const all = [...head, ...Array.from({ length: 8 - head.length - rest.length }, () => "0"), ...rest];
  return Buffer.from(all.map((word) => word.padStart(4, "0")).join(""), "hex");
}

/** Serves one client's questions, each behind its length (RFC 1035 §4.2.2), in their order. */
export async function answerStream(client: Socket, addressesOf: AddressesOf): Promise<void> {
  let waiting = Buffer.alloc(0);
  for await (const bytes of client) {
    waiting = Buffer.concat([waiting, bytes as Buffer]);
    while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
      const end = 2 + waiting.readUInt16BE(0);
      const answer = await answerTo(waiting.subarray(2, end), addressesOf);
      if (answer === undefined) return void client.destroy();
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length, 0);
      client.write(Buffer.concat([length, answer]));
      waiting = waiting.subarray(end);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , kubeconfig = "", address = "", port = ""] = process.argv;
  const addressesOf: AddressesOf = async (namespace, service) => {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${encodeURIComponent(service)}`;
    const { status, body } = await ask(kubeconfig, path);
    if (status !== 200) return undefined;
    const { spec } = JSON.parse(body) as { readonly spec: { readonly clusterIPs?: readonly string[] } };
    return (spec.clusterIPs ?? []).filter((found) => found !== "None");
  };
  const socket = createSocket("udp4");
  socket.on("message", async (message, { address: client, port: from }) => {
    const answer = await answerTo(message, addressesOf);
    if (answer !== undefined) socket.send(answer, from, client);
  });
  socket.bind(Number(port), address);
  // A client that goes away has had its answers.
  createServer((client) => void answerStream(client, addressesOf).catch(() => client.destroy())).listen(
    Number(port),
    address,
  );
}
