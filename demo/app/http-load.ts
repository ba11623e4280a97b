// demo · a caller in a pod that asks the same as often as it can, over several connections; then a line of JSON says what came of it.
//   node http-load.ts HOST PORT PATH MILLISECONDS CONNECTIONS [NAME=VALUE ...]      headers
import http from "node:http";

export type Load = {
  /** From before the first request until after the last answer. */
  readonly seconds: number;
  readonly admitted: number;
  /** Answered 429. */
  readonly refused: number;
  /** Of those, without a `Retry-After` of a second or more. */
  readonly unsaid: number;
  /** Answered 503 by an agent, since as many as may are under way. */
  readonly overloaded: number;
  /** Everything else. */
  readonly other: number;
};

const [host = "", port = "", path = "", lasts = "", connections = "", ...fields] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(connections) });
const headers = Object.fromEntries(fields.map((field) => field.split("=", 2)));

type Answered = { readonly status: number; readonly retryAfter: number; readonly isOverloaded: boolean };
const lost: Answered = { status: 0, retryAfter: 0, isOverloaded: false };

const ask = (): Promise<Answered> =>
  new Promise((resolve) => {
    const request = http.get({ host, port, path, headers, agent }, (response) => {
      const { statusCode: status = 0, headers: said } = response;
      const isOverloaded = status === 503 && said["x-envoy-overloaded"] === "true";
      const answer = { status, retryAfter: Number(said["retry-after"]), isOverloaded };
      response.on("error", () => resolve(lost));
      response.on("end", () => resolve(answer));
      response.resume();
    });
    request.on("error", () => resolve(lost));
  });

const began = performance.now();
const seen = { admitted: 0, refused: 0, unsaid: 0, overloaded: 0, other: 0 };
async function goOn(): Promise<void> {
  while (performance.now() - began < Number(lasts)) {
    const { status, retryAfter, isOverloaded } = await ask();
    if (status === 200) seen.admitted += 1;
    else if (isOverloaded) seen.overloaded += 1;
    else if (status !== 429) seen.other += 1;
    else seen.refused += 1;
    if (status === 429 && !(retryAfter >= 1)) seen.unsaid += 1;
  }
}
await Promise.all(Array.from({ length: Number(connections) }, goOn));
const load: Load = { seconds: (performance.now() - began) / 1_000, ...seen };
console.log(JSON.stringify(load));
agent.destroy();
