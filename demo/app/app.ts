// demo · the application inside the demo's pods; it knows nothing of a mesh. One role per process:
//   serve POD | call HOST PORT TEXT | greet HOST PORT | transfer HOST PORT BYTES [SERVER_DELAY_MS]
//   churn HOST PORT PARALLEL PAUSE_MS TEXT | ping HOST PORT INTERVAL_MS TEXT      (the last two: until their input ends)
import { call, churn, greet, ping, transfer } from "./client.ts";
import { serve } from "./server.ts";

const CALL_TIMEOUT_MS = 5_000;
const TRANSFER_TIMEOUT_MS = 120_000;

const [role, first = "", second = "", third = "", fourth = "", fifth = ""] = process.argv.slice(2);
const target = { host: first, port: Number(second) };
const tell = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** Aborted when the program that started us closes our input. */
function inputEnd(): AbortSignal {
  const ended = new AbortController();
  process.stdin.on("end", () => ended.abort());
  process.stdin.resume();
  return ended.signal;
}

switch (role) {
  case "serve":
    await serve(first);
    break;
  case "call":
    tell(await call(target, third, CALL_TIMEOUT_MS));
    break;
  case "greet":
    tell(await greet(target, CALL_TIMEOUT_MS));
    break;
  case "transfer":
    tell(await transfer(target, Number(third), Number(fourth), TRANSFER_TIMEOUT_MS));
    break;
  case "churn": {
    const options = { parallel: Number(third), pauseMs: Number(fourth), timeoutMs: CALL_TIMEOUT_MS, said: fifth };
    tell(await churn(target, options, inputEnd()));
    break;
  }
  case "ping":
    await ping(target, { intervalMs: Number(third), said: fourth }, inputEnd(), tell);
    break;
  default:
    process.stderr.write(`demo-app: no role ${role}\n`);
    process.exitCode = 64;
}
process.stdin.unref();
