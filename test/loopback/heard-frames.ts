// tests · what a raw peer of HTTP/2 has heard on its tunnel, read from its frames.
import { DATA, END_STREAM, frame, GOAWAY, HEADERS, PING, type RawPeer, RST_STREAM, WINDOW_UPDATE } from "./raw-h2.ts";
import { until } from "./until.ts";

/** RFC 9113 7. */
export const code = {
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  FRAME_SIZE_ERROR: 6,
  COMPRESSION_ERROR: 9,
};

/** Streams that were reset, each with its code, in order. */
export const resets = (peer: RawPeer): [stream: number, code: number][] =>
  peer.frames.flatMap(({ type, stream, payload }) => (type === RST_STREAM ? [[stream, payload.readUInt32BE()]] : []));
export const answered = (peer: RawPeer, stream: number): boolean =>
  peer.frames.some((got) => got.type === HEADERS && got.stream === stream);
/** Bytes that WINDOW_UPDATEs have added to the window of the stream, or of the connection (0). */
export const windows = (peer: RawPeer, stream: number): number =>
  peer.frames
    .filter((got) => got.type === WINDOW_UPDATE && got.stream === stream)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0);
export const dataOf = (peer: RawPeer, stream: number): { text: string; ended: boolean } => {
  const frames = peer.frames.filter((got) => got.type === DATA && got.stream === stream);
  const text = Buffer.concat(frames.map(({ payload }) => payload)).toString();
  return { text, ended: frames.some(({ flags }) => (flags & END_STREAM) !== 0) };
};
/** Their codes. */
export const goaways = (peer: RawPeer): number[] =>
  peer.frames.flatMap(({ type, payload }) => (type === GOAWAY ? [payload.readUInt32BE(4)] : []));
/** Both sides of a PING: what was sent before has been read. */
export async function heard(peer: RawPeer): Promise<void> {
  const before = peer.frames.filter(({ type }) => type === PING).length;
  peer.send(frame(PING, 0, 0, Buffer.alloc(8)));
  await until(() => peer.frames.filter(({ type }) => type === PING).length > before, "the PING is answered");
}
