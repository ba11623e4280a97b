// fuzz · what a peer sent and what the engine gave back of its windows: equal, for each stream, when the
// engine forgets it; and of the tunnel's own window no more is missing than the streams that are left account
// for. A byte that is not given back would make every later stream of that tunnel a little
// slower, until none moves.
#include <nghttp2/nghttp2.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

namespace {

using Stream = std::pair<nghttp2_session*, int32_t>;

std::map<Stream, int64_t>& Owed() {
  static auto* const owed = new std::map<Stream, int64_t>;
  return *owed;
}

// Of the window that all streams of a session share.
std::map<nghttp2_session*, int64_t>& OwedToAll() {
  static auto* const owed = new std::map<nghttp2_session*, int64_t>;
  return *owed;
}

auto Streams(nghttp2_session* session) {
  return std::pair(Owed().lower_bound({session, INT32_MIN}), Owed().upper_bound({session, INT32_MAX}));
}

[[noreturn]] void Missing(const char* whose, int32_t id, int64_t bytes) {
  fprintf(stderr, "fuzz: stream %d is forgotten and %lld bytes of %s window with it\n", id,
          static_cast<long long>(bytes), whose);
  abort();
}

nghttp2_on_data_chunk_recv_callback g_callback = nullptr;

int OnData(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* bytes, size_t length,
           void* user_data) {
  Owed()[{session, id}] += static_cast<int64_t>(length);
  OwedToAll()[session] += static_cast<int64_t>(length);
  return g_callback(session, flags, id, bytes, length, user_data);
}

}  // namespace

extern "C" {
void __real_nghttp2_session_callbacks_set_on_data_chunk_recv_callback(nghttp2_session_callbacks*,
                                                                      nghttp2_on_data_chunk_recv_callback);
int __real_nghttp2_session_consume(nghttp2_session*, int32_t, size_t);
int __real_nghttp2_session_consume_connection(nghttp2_session*, size_t);
int __real_nghttp2_session_consume_stream(nghttp2_session*, int32_t, size_t);
int __real_nghttp2_session_set_stream_user_data(nghttp2_session*, int32_t, void*);
void __real_nghttp2_session_del(nghttp2_session*);

void __wrap_nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
    nghttp2_session_callbacks* table, nghttp2_on_data_chunk_recv_callback callback) {
  g_callback = callback;
  __real_nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, OnData);
}

int __wrap_nghttp2_session_consume(nghttp2_session* session, int32_t id, size_t size) {
  Owed()[{session, id}] -= static_cast<int64_t>(size);
  OwedToAll()[session] -= static_cast<int64_t>(size);
  return __real_nghttp2_session_consume(session, id, size);
}

int __wrap_nghttp2_session_consume_connection(nghttp2_session* session, size_t size) {
  OwedToAll()[session] -= static_cast<int64_t>(size);
  return __real_nghttp2_session_consume_connection(session, size);
}

int __wrap_nghttp2_session_consume_stream(nghttp2_session* session, int32_t id, size_t size) {
  Owed()[{session, id}] -= static_cast<int64_t>(size);
  return __real_nghttp2_session_consume_stream(session, id, size);
}

int __wrap_nghttp2_session_set_stream_user_data(nghttp2_session* session, int32_t id, void* user_data) {
  const auto owed = Owed().find({session, id});
  if (user_data == nullptr && owed != Owed().end()) {
    if (owed->second != 0) Missing("its", id, owed->second);
    Owed().erase(owed);
    int64_t left = 0;
    const auto [first, last] = Streams(session);
    for (auto stream = first; stream != last; ++stream) left += stream->second;
    const int64_t missing = OwedToAll()[session];
    if (missing < 0 || missing > left) Missing("the tunnel's", id, missing - left);
  }
  return __real_nghttp2_session_set_stream_user_data(session, id, user_data);
}

void __wrap_nghttp2_session_del(nghttp2_session* session) {
  const auto [first, last] = Streams(session);
  Owed().erase(first, last);
  OwedToAll().erase(session);
  __real_nghttp2_session_del(session);
}
}
