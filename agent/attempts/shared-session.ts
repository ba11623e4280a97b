// any thread · one HTTP/2 session to a server, which all questions share. It is opened at the first question; when it has ended, the next
// question opens another.
import type { ClientHttp2Session } from "node:http2";

export class SharedSession {
  readonly #open: () => Promise<ClientHttp2Session>;
  #session: Promise<ClientHttp2Session> | undefined;

  /** @param open resolves to a session that is connected; `connected` below does that */
  constructor(open: () => Promise<ClientHttp2Session>) {
    this.#open = open;
  }

  /** Rejects with the reason why the server cannot be reached; the next call tries again. */
  get(): Promise<ClientHttp2Session> {
    if (this.#session !== undefined) return this.#session;
    const opening = this.#open();
    this.#session = opening;
    const forget = (): void => {
      if (this.#session === opening) this.#session = undefined;
    };
    opening.then((session) => {
      // After a GOAWAY the streams that are open go on to their end; new questions need another session.
      for (const end of ["close", "goaway", "error"]) session.once(end, forget);
      if (session.closed || session.destroyed) forget();
    }, forget);
    return opening;
  }

  /** Ends a session that `get` has returned, also while it is being opened. */
  end(session: Promise<ClientHttp2Session>): void {
    if (this.#session === session) this.#session = undefined;
    session.then(
      (opened) => opened.destroy(),
      () => undefined,
    );
  }

  /** Ends the present session, if any. */
  close(): void {
    if (this.#session !== undefined) this.end(this.#session);
  }
}

/**
 * Resolves to the session once its server has answered. Rejects when it ends before, and when `check` throws, which ends the session.
 * @param address for messages
 */
export function connected(
  session: ClientHttp2Session,
  address: string,
  check: (session: ClientHttp2Session) => void,
): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    session.once("connect", () => {
      try {
        check(session);
        resolve(session);
      } catch (error) {
        session.destroy();
        reject(error);
      }
    });
    session.once("close", () => reject(new Error(`${address} ended the connection`)));
    session.on("error", reject);
  });
}
