// keeper · each request of an agent → what the enrollments, the holders of the node and the loaded programs say to it.
import type { PodEnrollments } from "./enrollment.ts";
import type { EnrollmentRefusal, OpenEnrollment } from "./enrollment-states.ts";
import type { Holders } from "./holders.ts";
import type { Asker, KeeperLog, ReplyWithFds } from "./lend.ts";
import type { NodeAccess } from "./node-access.ts";
import type { PodStarts } from "./pod-starts.ts";
import type { LoadedPrograms } from "./programs.ts";
import { PROTOCOL_VERSION, type Request } from "./protocol.ts";
import { RefusalLines } from "./refusal-lines.ts";

const isRefusal = (value: object): value is EnrollmentRefusal => "refused" in value;

export type AnswererParts = {
  readonly kernel: LoadedPrograms;
  readonly open: () => Promise<PodEnrollments>;
  readonly holders: Holders;
  readonly access: NodeAccess;
  readonly starts: PodStarts;
  readonly log: KeeperLog;
};

/** Only the agent that holds the node may ask for these. Any agent gets sockets, for the connections that it has. */
const changes: ReadonlySet<Request["op"]> = new Set([
  "guard",
  "prepare",
  "set-addresses",
  "capture",
  "release",
  "release-to-guard",
  "name",
  "sever",
]);

export function answerer(parts: AnswererParts): (request: Request, asker: Asker) => Promise<ReplyWithFds> {
  const { kernel, open, holders, access, starts, log } = parts;
  const lines = new RefusalLines("refused", log, () => performance.now());
  const refuse = (id: number, refusal: EnrollmentRefusal): ReplyWithFds => {
    // Not under the name of the line's own text, which would take its place.
    lines.add({ key: refusal.refused, fields: { reason: refusal.refused, why: refusal.message } });
    return { reply: { id, op: "refused", reason: refusal.refused, message: refusal.message } };
  };
  return async (request, { agent, pid, connected }) => {
    const { id } = request;
    const enrollments = await open();
    if (changes.has(request.op) && !holders.mayChange(agent)) {
      return refuse(id, { refused: "not-holding", message: "another agent holds the node" });
    }
    switch (request.op) {
      case "hello": {
        const pods = enrollments.present();
        // An agent that went while the keeper opened its tables never came.
        const role = connected() ? holders.came(agent, request.role) : "leaving";
        log.info("an agent is here", { node: request.node, pods: pods.length, pid, role });
        return { reply: { id, op: "welcome", version: PROTOCOL_VERSION, role, pods }, fds: kernel.lentFds() };
      }
      case "take": {
        const isTaken = await holders.take(agent);
        if (!isTaken) return refuse(id, { refused: "busy", message: "the node is held, or is being handed over" });
        log.info("an agent has taken the node", { pid });
        return { reply: { id, op: "taken", pods: enrollments.present() }, fds: kernel.lentFds() };
      }
      case "yielded":
        holders.yielded(agent);
        return { reply: { id, op: "done" } };
      case "serving":
        holders.serves(agent);
        return { reply: { id, op: "done" } };
      case "leave":
        holders.gone(agent);
        return { reply: { id, op: "done" } };
      case "guard": {
        const row = await enrollments.guard(request.uid, request.workload);
        return isRefusal(row) ? refuse(id, row) : { reply: { id, op: "guarded", podIdx: row.podIdx } };
      }
      case "set-addresses": {
        const { podIdx, uid, addresses } = request;
        const result = await enrollments.setAddresses(request, addresses);
        if (isRefusal(result)) return refuse(id, result);
        log.info("has other addresses", { pod: uid, podIdx, addresses });
        return { reply: { id, op: "done" } };
      }
      case "name": {
        const named = await enrollments.name(request, request.workload);
        return named === undefined ? { reply: { id, op: "done" } } : refuse(id, named);
      }
      case "known-of":
        return { reply: { id, op: "known", ...enrollments.knownOf(request) } };
      case "prepare": {
        const result = await enrollments.prepare(request.uid, request.addresses);
        return isRefusal(result) ? refuse(id, result) : prepared(id, result);
      }
      case "capture": {
        const { podIdx, failDirect } = request;
        const result = await enrollments.capture(request, failDirect, ({ row }) => {
          log.info("captured", { pod: row.uid, podIdx, failDirect });
          // The runtime calls the plug-in again after a reboot: what it waits for is only the kernel's.
          starts.captured(podIdx);
        });
        if (isRefusal(result)) return refuse(id, result);
        return { reply: { id, op: "done" } };
      }
      case "release": {
        const { podIdx, uid } = request;
        if (await enrollments.release(request)) {
          log.info("released", { pod: uid, podIdx });
          starts.released(podIdx);
        }
        return { reply: { id, op: "done" } };
      }
      case "release-to-guard": {
        const row = await enrollments.releaseToGuard(request, request.workload);
        if (isRefusal(row)) return refuse(id, row);
        log.info("released, and guarded", { pod: row.uid, podIdx: row.podIdx });
        return { reply: { id, op: "guarded", podIdx: row.podIdx } };
      }
      case "sockets": {
        const { podIdx, kind, count } = request;
        const fds = await enrollments.makeSockets(request, kind, count);
        if (!Array.isArray(fds)) return refuse(id, fds);
        return { reply: { id, op: "sockets", podIdx, kind }, fds, handedOver: true };
      }
      case "sever": {
        const ended = await enrollments.sever(request);
        if (typeof ended !== "number") return refuse(id, ended);
        const say = ended > 0 ? log.info : log.debug;
        say("connections that are no longer allowed were ended", { podIdx: request.podIdx, ended });
        return { reply: { id, op: "done" } };
      }
      case "node-access":
        return { reply: { id, op: "node-access", ...access.view() } };
      case "programs":
        return { reply: { id, op: "programs", ...kernel.view() } };
    }
  };
}

function prepared(id: number, enrolled: OpenEnrollment): ReplyWithFds {
  const { row, namespace, state } = enrolled;
  return {
    reply: {
      id,
      op: "prepared",
      podIdx: row.podIdx,
      addresses: row.addresses,
      netnsCookie: String(row.netnsCookie),
      listeners: namespace.listeners.map(({ kind, family, address, port }) => ({ kind, family, address, port })),
      captured: state === "captured",
      preservesSource: namespace.preservesSource,
    },
    fds: namespace.listeners.map(({ fd }) => fd),
  };
}
