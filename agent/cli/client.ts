// CLI · one door to an agent: HTTP over its admin socket, or a dump file in its place. Every failure has its exit status.
import { readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import {
  apiVersion,
  defaultSocket,
  type ExplainView,
  type LogChange,
  type ViewName,
  type Views,
} from "../admin/api.ts";
import type { AskedRequest } from "../plan/explain-request.ts";
import { CliFailure, exits } from "./output.ts";

export type ClientOptions = {
  /** From --socket, else ORLOP_SOCKET, else /run/orlop/agent.sock. */
  readonly socket: string;
  /** A file that `orlop dump` wrote; asked in place of the agent. */
  readonly dump: string | undefined;
  readonly timeoutMs: number;
};

export type Client = {
  readonly view: <Name extends ViewName>(name: Name) => Promise<Views[Name]>;
  readonly dump: () => Promise<unknown>;
  readonly explain: (src: string, dst: string, request: AskedRequest) => Promise<ExplainView>;
  readonly setLog: (change: LogChange) => Promise<Views["log"]>;
};

/** A reply that is longer is no reply of ours. */
const maxReplyBytes = 256 * 1024 * 1024;

export function socketPath(flag: string | undefined, vars: Readonly<Record<string, string | undefined>>): string {
  return flag ?? (vars.ORLOP_SOCKET || defaultSocket);
}

export function connect(options: ClientOptions): Client {
  return options.dump === undefined ? fromSocket(options) : fromDump(options.dump);
}

function fromSocket(options: ClientOptions): Client {
  // The agent's types are believed: it runs the same version or says so in `version`.
  const get = async (path: string): Promise<unknown> => exchange(options, "GET", path, undefined);
  return {
    view: async <Name extends ViewName>(name: Name) => (await get(`/v1/${name}`)) as Views[Name],
    dump: () => get("/v1/dump"),
    explain: async (src, dst, { header = [], ...request }) => {
      const query = new URLSearchParams({ src, dst });
      for (const [name, value] of Object.entries(request)) if (value !== undefined) query.set(name, value);
      for (const field of header) query.append("header", field);
      return (await get(`/v1/explain?${query}`)) as ExplainView;
    },
    setLog: async (change) => (await exchange(options, "PUT", "/v1/log", change)) as Views["log"],
  };
}

function fromDump(path: string): Client {
  const dump = readDump(path);
  const offline = (what: string): CliFailure =>
    new CliFailure(exits.usage, {
      code: "ORL6005",
      what: `${what} needs a running agent`,
      why: `${path} only holds what an agent knew when it was written`,
      fix: "leave out -f, or use --socket",
    });
  return {
    view: async <Name extends ViewName>(name: Name) => {
      const value = Object.hasOwn(dump, name) ? Reflect.get(dump, name) : undefined;
      if (typeof value !== "object" || value === null) throw badDump(path, `it holds no "${name}"`);
      return value as Views[Name];
    },
    dump: async () => dump,
    explain: () => Promise.reject(offline("explain")),
    setLog: () => Promise.reject(offline("log set")),
  };
}

function readDump(path: string): object {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw badDump(path, error instanceof Error ? error.message : "it cannot be read");
  }
  const ours = typeof value === "object" && value !== null && Reflect.get(value, "kind") === "Dump";
  if (!ours) throw badDump(path, "it is no dump of Orlop's");
  if (Reflect.get(value as object, "apiVersion") !== apiVersion) throw badDump(path, `it is not of ${apiVersion}`);
  return value as object;
}

function badDump(path: string, why: string): CliFailure {
  return new CliFailure(exits.badInput, {
    code: "ORL6005",
    what: `cannot use ${path}`,
    why,
    fix: "write one with: orlop dump > dump.json",
  });
}

/** One request and its reply as JSON. Throws CliFailure. */
async function exchange(options: ClientOptions, method: "GET" | "PUT", path: string, body: unknown): Promise<unknown> {
  const { status, text } = await send(options, method, path, body === undefined ? "" : JSON.stringify(body));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable(options.socket, `status ${status}, and the body is no JSON`);
  }
  if (status === 200) return value;
  const said = typeof value === "object" && value !== null ? String(Reflect.get(value, "message") ?? "") : "";
  if (status === 403) throw notPermitted(options.socket, said);
  if (status === 400 || status === 404) {
    const missing = status === 404;
    throw new CliFailure(missing ? exits.failed : exits.usage, {
      code: "ORL6004",
      what: said,
      why: missing ? "the agent does not know it" : "the agent did not understand the request",
      fix: missing ? `see what there is: ${hintFor(path)}` : "see: orlop --help",
    });
  }
  throw unreadable(options.socket, `status ${status}: ${said}`);
}

function hintFor(path: string): string {
  return path.startsWith("/v1/explain")
    ? "orlop get workloads; orlop get services"
    : "orlop version (client and agent may differ)";
}

type Raw = { readonly status: number; readonly text: string };

function send(options: ClientOptions, method: string, path: string, body: string): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const call = request({
      socketPath: options.socket,
      method,
      path,
      headers: { "content-length": Buffer.byteLength(body) },
    });
    const timer = setTimeout(
      () => call.destroy(unreachable(options.socket, `no reply within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    const fail = (error: unknown): void => {
      clearTimeout(timer);
      reject(failureOf(error, options.socket));
    };
    call.once("error", fail);
    call.once("response", (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxReplyBytes) call.destroy(unreadable(options.socket, "the reply does not end"));
        else chunks.push(chunk);
      });
      response.once("error", fail);
      response.once("end", () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") });
      });
    });
    call.end(body);
  });
}

function failureOf(error: unknown, socket: string): CliFailure {
  if (error instanceof CliFailure) return error;
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code === "EACCES" || code === "EPERM")
    return notPermitted(socket, "the socket is for root and the agent's own user");
  if (code === "ENOENT") return unreachable(socket, "there is no such socket");
  if (code === "ECONNREFUSED") return unreachable(socket, "nobody listens on it");
  return unreachable(socket, error instanceof Error ? error.message : String(error));
}

function unreachable(socket: string, why: string): CliFailure {
  return new CliFailure(exits.unreachable, {
    code: "ORL6001",
    what: `cannot reach the agent at ${socket}`,
    why,
    fix: "start it (orlop run -c orlop.yaml), or name its socket with --socket or ORLOP_SOCKET",
  });
}

function notPermitted(socket: string, why: string): CliFailure {
  return new CliFailure(exits.notPermitted, {
    code: "ORL6002",
    what: `the agent at ${socket} refuses`,
    why: why || "the socket is for root and the agent's own user",
    fix: "run this as root, for example with sudo",
  });
}

function unreadable(socket: string, why: string): CliFailure {
  return new CliFailure(exits.failed, {
    code: "ORL6003",
    what: `the answer from ${socket} makes no sense`,
    why,
    fix: "compare versions: orlop version",
  });
}
