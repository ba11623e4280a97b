// CLI · the flags every reading command takes, and the little that each command gets from them.
import { type Client, connect, socketPath } from "./client.ts";
import { type CliEnv, type ColorWish, type Format, type Paint, painter, quietOutput, wantsColor } from "./output.ts";

export type ReadOptions = {
  readonly socket?: string;
  readonly file?: string;
  readonly output: Format;
  readonly color: ColorWish;
  readonly headers: boolean;
  readonly namespace?: string;
  readonly selector?: string;
  /** Milliseconds. */
  readonly timeout: number;
};

/** What a command runs with. `print` is where its data goes; hints and warnings go to `env.stderr`. */
export type Context = {
  readonly env: CliEnv;
  readonly options: ReadOptions;
  readonly client: () => Client;
  readonly paint: Paint;
  readonly print: (text: string) => void;
};

export function contextOf(options: ReadOptions, env: CliEnv): Context {
  return {
    env,
    options,
    client: () =>
      connect({ socket: socketPath(options.socket, env.vars), dump: options.file, timeoutMs: options.timeout }),
    paint: painter(wantsColor(options.color, env)),
    print: (text) => env.stdout(quietOutput(text)),
  };
}
