// any thread · an answer of ours to a call of gRPC: a client of gRPC reads status and message from fields of the head alone. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orlop {

// Of a Content-Type: `application/grpc`, `application/grpc+…` or with parameters. gRPC-Web is none: it goes by the HTTP status.
bool IsGrpc(std::string_view content_type);
// grpc:doc/http-grpc-status-mapping.md, but for 429 and 504: that table is for what others answer, and these are words of our own limits
// and deadlines.
int GrpcStatusOf(int http_status);
// The number of a grpc-status; UNKNOWN where it is none of gRPC's (grpc:doc/statuscodes.md), as its clients read it.
int GrpcStatusIn(std::string_view text);
// As grpc-message has it: printable ASCII but `%`, all else in escapes (grpc:doc/PROTOCOL-HTTP2.md).
std::string GrpcMessageOf(std::string_view text);

}  // namespace orlop
