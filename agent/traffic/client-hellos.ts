// 7 · data thread · connections to a port with TLSRoutes: their first bytes are looked at before they are decided about, and stay unread.
import type { Peek } from "../engine/answers.ts";
import type { FirstBytes } from "../engine/events.ts";
import { clientHello } from "../l7/client-hello.ts";
import type { Connection } from "./connection.ts";

/** Whom the caller names; null: nobody. "not-tls": it does not begin as TLS does. */
export type SeenHello = { readonly serverName: string | null } | "not-tls";

/** Bytes of the head of a TLS record, which says how long the record is. */
const FIRST = 5;
/** A caller that cuts its first message into more pieces than this is not read. */
const MOST_LOOKS = 8;

const notTls: SeenHello = "not-tls";

export class ClientHellos {
  /** By connection: how often its bytes were looked at, or what was seen. */
  readonly #of = new WeakMap<Connection, number | SeenHello>();

  /** undefined: nobody has looked yet. */
  seen(connection: Connection): SeenHello | undefined {
    const known = this.#of.get(connection);
    return typeof known === "number" ? undefined : known;
  }

  look(connection: Connection, bytes = FIRST): Peek {
    const known = this.#of.get(connection);
    this.#of.set(connection, typeof known === "number" ? known + 1 : 1);
    return { type: "peek", ...connection.ref, bytes };
  }

  /** Reads the first bytes that have come. @returns how many to wait for; undefined: enough have come, and `seen` has the result */
  arrived({ bytes, isAll }: Pick<FirstBytes, "bytes" | "isAll">, connection: Connection): Peek | undefined {
    const looks = this.#of.get(connection);
    if (typeof looks !== "number") return undefined;
    const read = clientHello(bytes);
    if (read.kind === "more" && read.bytes > bytes.length && !isAll && looks < MOST_LOOKS)
      return this.look(connection, read.bytes);
    this.#of.set(connection, read.kind === "hello" ? { serverName: read.serverName } : notTls);
    return undefined;
  }
}
