// test peers · cases of h2spec that Orlop's HBONE server does not pass, with the RFC's sentence on each, word for word. The control is
// Node's own server with the same settings and answers. It does not pass them either, unless the entry says so; h2spec.peer.ts asserts it.

export type Mode = "generic" | "connect";
export type H2Difference = {
  readonly differs: string;
  readonly sentence: string;
  readonly modes: readonly Mode[];
  /** What comes first decides the case: it may pass. */
  readonly sometimes?: true;
  /** The control passes: it is laxer here. */
  readonly controlPasses?: true;
};

const both: readonly Mode[] = ["generic", "connect"];
const generic: readonly Mode[] = ["generic"];

const noContent: H2Difference = {
  differs: "what is no CONNECT gets a 400 without content, so there is no DATA to look at; the CONNECT run has it",
  sentence: "RFC 9113 8.1: zero or more DATA frames containing the message content",
  modes: generic,
};
const connects: readonly Mode[] = ["connect"];
const noLength: H2Difference = {
  differs:
    "a content-length on a CONNECT is passed over: what follows is no content, and has no length that could be wrong",
  sentence: "RFC 9110 9.3.6: A CONNECT request message does not have content.",
  modes: connects,
};
const closed: H2Difference = {
  differs: "nghttp2 passes over frames of a closed stream",
  sentence:
    "RFC 9113 5.1: An endpoint MAY treat receipt of any other type of frame on a closed stream as a connection error",
  modes: both,
};
/** For each case of the generic run whose own frame came behind the 400, and that the CONNECT run has judged. */
export const answered: H2Difference = {
  differs: "the 400 has closed the stream, or not yet; the CONNECT run has a stream that stays open",
  sentence:
    'RFC 9113 5.1: A stream enters the "closed" state after an endpoint both sends and receives a frame with an END_STREAM flag set',
  modes: generic,
  sometimes: true,
};

/** By the id of h2spec's case. */
export const differences: Readonly<Record<string, H2Difference>> = {
  "generic/2/2": noContent,
  "generic/2/3": noContent,
  "http2/6.5.3/1": noContent,
  "http2/6.9.1/1": noContent,
  "http2/6.9.2/1": noContent,
  "http2/6.9.2/2": noContent,
  "http2/8.1.2.6/1": noLength,
  "http2/8.1.2.6/2": noLength,
  "generic/4/4": {
    differs: "trailers behind a CONNECT reset its stream",
    sentence:
      "RFC 9113 8.5: Frame types other than DATA or stream management frames (RST_STREAM, WINDOW_UPDATE, and PRIORITY) MUST NOT be sent on a connected stream and MUST be treated as a stream error",
    modes: connects,
    // h2spec passes the case for any frame that it reads before the reset: the 200, or the application's first bytes.
    sometimes: true,
    controlPasses: true,
  },
  "http2/4.2/3": {
    differs: "h2spec takes 16,384 bytes for the limit; ours is 1 MiB, and says so in SETTINGS",
    sentence:
      "RFC 9113 4.2: An endpoint MUST send an error code of FRAME_SIZE_ERROR if a frame exceeds the size defined in SETTINGS_MAX_FRAME_SIZE",
    modes: both,
  },
  "http2/5.1.2/1": answered,
  "http2/5.1/8": closed,
  "http2/5.1/9": closed,
  "http2/5.1/11": closed,
  "http2/5.1/12": closed,
  "http2/5.1.1/2": {
    differs: "nghttp2 passes over HEADERS of an identifier below the last",
    sentence:
      'RFC 9113 5.1.1: When a stream transitions out of the "idle" state, all streams in the "idle" state that might have been opened by the peer with a lower-valued stream identifier immediately transition to "closed"',
    modes: both,
  },
  "http2/5.3.1/2": {
    differs: "nghttp2 reads no PRIORITY frame",
    sentence: "RFC 9113 5.3.2: This update to HTTP/2 deprecates the priority signaling defined in RFC 7540",
    modes: both,
  },
  "http2/6.3/1": {
    differs: "nghttp2 reads no PRIORITY frame, and so does not end a connection for one on stream 0",
    sentence:
      "RFC 9113 6.3: If a PRIORITY frame is received with a stream identifier of 0x00, the recipient MUST respond with a connection error of type PROTOCOL_ERROR",
    modes: both,
  },
  "http2/6.9.1/3": {
    differs:
      "nghttp2 ends the connection with FLOW_CONTROL_ERROR when the window of a stream overflows, not the stream; behind the 400 it passes over it",
    sentence:
      "RFC 9113 5.4.1: An endpoint can end a connection at any time. In particular, an endpoint MAY choose to treat a stream error as a connection error.",
    modes: both,
  },
};
