// 9 · data thread · verdicts on requests of the same words, on connections that no rule can tell apart: found once for each state of the
// mesh. What a caller sends beside its words is not part of that, so a verdict for which a field was read is found anew each time.
import type { RequestFacts } from "../mesh/facts.ts";
import type { HeadWords } from "../mesh/head-words.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Evaluator } from "./evaluate.ts";
import { type ConnectionOfRequest, judgeRequest, type RequestVerdict } from "./judge-request.ts";

/** A verdict, and all that it depends on but the words. */
type VerdictOnWords = {
  readonly alike: object;
  readonly destination: Workload;
  readonly version: number;
  readonly verdict: RequestVerdict;
};

export class RequestVerdicts {
  readonly #mesh: Pick<Snapshot, "version">;
  readonly #evaluator: Pick<Evaluator, "judge" | "readsPaths">;
  readonly #known = new WeakMap<HeadWords, VerdictOnWords>();

  /** @param mesh whose version rises with whatever the evaluator may see */
  constructor(mesh: Pick<Snapshot, "version">, evaluator: Pick<Evaluator, "judge" | "readsPaths">) {
    this.#mesh = mesh;
    this.#evaluator = evaluator;
  }

  /**
   * As judgeRequest.
   * @param alike the same object for connections whose facts are the same, but for the port of the caller; another for others
   * @param words the words of `request`; undefined: nobody has read them before
   */
  of(
    connection: ConnectionOfRequest,
    alike: object,
    request: RequestFacts,
    words: HeadWords | undefined,
  ): RequestVerdict {
    // Words that come once would only fill the table.
    if (words?.isRepeated !== true || !isOf(request, words)) return judgeRequest(connection, request, this.#evaluator);
    const { version } = this.#mesh;
    const { destination } = connection;
    const known = this.#known.get(words);
    if (known?.version === version && known.alike === alike && known.destination === destination) return known.verdict;
    let isRead = false;
    const header: RequestFacts["header"] = (name, spelled) => {
      isRead = true;
      return request.header(name, spelled);
    };
    const { method, path, host } = request;
    const verdict = judgeRequest(connection, { method, path, host, header }, this.#evaluator);
    if (!isRead) this.#known.set(words, { alike, destination, version, verdict });
    return verdict;
  }
}

/** Rules judge these very words. */
const isOf = ({ method, path, host }: RequestFacts, words: HeadWords): boolean =>
  method === words.method && path === words.path && host === words.host;
