// any thread · why a certificate is not given, in the code that the caller gets. Types and a constructor.
import type { GrpcCode } from "../identity/grpc-message.ts";

export class NotIssued extends Error {
  readonly code: Exclude<GrpcCode, "OK">;

  /** @param message what the caller reads; it names nothing that the caller has not named itself */
  constructor(code: Exclude<GrpcCode, "OK">, message: string) {
    super(message);
    this.code = code;
  }
}
