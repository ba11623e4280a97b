// any thread · the agent's own log: one JSON object a line, a level per room that can be set at run time and reverts by
// itself, secrets unprintable by type. The only pino import.
import pino from "pino";
import { quietJson } from "../mesh/terminal-text.ts";

/** The same words as in NodeConfig. "silent" writes nothing. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** One per room; what a level named here lacks falls back to the default level. */
export const logRooms = ["agent", "keeper", "control", "identity", "traffic", "policy", "engine", "admin"] as const;
export type LogRoom = (typeof logRooms)[number];

export type LogFields = Readonly<Record<string, unknown>>;
export type Logger = {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
};

export type LogSetting = { readonly room: LogRoom; readonly level: LogLevel; readonly until: number | null };

export type LogOptions = {
  readonly level: LogLevel;
  readonly write: (line: string) => void;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
};

type Room = { readonly logger: pino.Logger; until: number | null; revert: NodeJS.Timeout | null };

/** A level may be raised for at most a day: a debug log that nobody remembers fills a disk. */
export const maxLevelMs = 86_400_000;

export class Log {
  readonly #default: LogLevel;
  readonly #now: () => number;
  readonly #rooms = new Map<LogRoom, Room>();

  constructor(options: LogOptions) {
    this.#default = options.level;
    this.#now = options.now;
    const root = pino(
      {
        level: "trace",
        base: null,
        messageKey: "message",
        timestamp: () => `,"time":"${new Date(options.now()).toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line) => options.write(quietJson(line)) },
    );
    for (const room of logRooms) {
      const logger = root.child({ scope: room }, { level: options.level });
      this.#rooms.set(room, { logger, until: null, revert: null });
    }
  }

  room(name: LogRoom): Logger {
    const { logger } = this.#room(name);
    const at =
      (level: "debug" | "info" | "warn" | "error") =>
      (message: string, fields: LogFields = {}): void => {
        if (logger.isLevelEnabled(level)) logger[level](redactFields(fields), message);
      };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }

  /** Sets a room's level; with `forMs` it goes back to the default level by itself. */
  set(name: LogRoom, level: LogLevel, forMs: number | null): void {
    const room = this.#room(name);
    if (room.revert) clearTimeout(room.revert);
    room.logger.level = level;
    room.until = null;
    room.revert = null;
    if (forMs === null) return;
    const limited = Math.min(forMs, maxLevelMs);
    room.until = this.#now() + limited;
    room.revert = setTimeout(() => this.set(name, this.#default, null), limited);
    room.revert.unref();
  }

  /** `set` for words that came from outside. undefined: done; else what was wrong. */
  change(room: string, level: string, forMs: number | null): string | undefined {
    if (!isLogRoom(room)) return `there is no room ${room}; there are ${logRooms.join(", ")}`;
    if (!isLogLevel(level)) return `there is no level ${level}; there are ${logLevels.join(", ")}`;
    this.set(room, level, forMs);
    return undefined;
  }

  settings(): readonly LogSetting[] {
    return [...this.#rooms].map(([room, { logger, until }]) => ({
      room,
      level: isLogLevel(logger.level) ? logger.level : this.#default,
      until,
    }));
  }

  #room(name: LogRoom): Room {
    const room = this.#rooms.get(name);
    if (!room) throw new RangeError(`no log room ${name}`);
    return room;
  }
}

export function isLogRoom(text: string): text is LogRoom {
  return (logRooms as readonly string[]).includes(text);
}

export function isLogLevel(text: string): text is LogLevel {
  return (logLevels as readonly string[]).includes(text);
}

const pem = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const bearer = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi;

/**
 * By type, not by name: bytes print their length, objects of a class print the class only (a key, a socket, a secret),
 * and text that looks like a key or a token loses it. Values nest at most four deep.
 */
export function redact(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case "string":
      return value.replaceAll(pem, "[private key]").replaceAll(bearer, "$1 [token]");
    case "number":
    case "boolean":
    case "undefined":
      return value;
    case "bigint":
      return value.toString();
    case "object":
      break;
    default:
      return `[${typeof value}]`;
  }
  if (value === null) return null;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[date]" : value.toISOString();
  if (value instanceof Error) {
    const code = "code" in value && typeof value.code === "string" ? { code: value.code } : {};
    return { name: value.name, message: redact(value.message, depth + 1), ...code };
  }
  if (depth >= 4) return "[…]";
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => redact(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `[${value.constructor?.name ?? "object"}]`;
  return redactFields(value as LogFields, depth + 1);
}

function redactFields(fields: LogFields, depth = 0): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, redact(value, depth)]));
}
