// any thread · every nghttp2 and OpenSSL function we call is looked up, and all must lie in one library each.
#include "engine/core/symbols.h"

#include <dlfcn.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include <cstring>

namespace orlop {
namespace {

// The library of `function`; null when unknown.
const char* LibraryOf(const void* function) {
  Dl_info info{};
  return dladdr(function, &info) ? info.dli_fname : nullptr;
}

}  // namespace

std::string CheckSymbols() {
  static const struct {
    const char* name;
    const void* function;
  } functions[] = {
#define ORLOP_SYMBOL(name) {#name, reinterpret_cast<const void*>(&name)}
      ORLOP_SYMBOL(nghttp2_http2_strerror),
      ORLOP_SYMBOL(nghttp2_option_del),
      ORLOP_SYMBOL(nghttp2_option_new),
      ORLOP_SYMBOL(nghttp2_option_set_max_continuations),
      ORLOP_SYMBOL(nghttp2_option_set_max_settings),
      ORLOP_SYMBOL(nghttp2_option_set_no_auto_window_update),
      ORLOP_SYMBOL(nghttp2_option_set_no_closed_streams),
      ORLOP_SYMBOL(nghttp2_option_set_peer_max_concurrent_streams),
      ORLOP_SYMBOL(nghttp2_option_set_stream_reset_rate_limit),
      ORLOP_SYMBOL(nghttp2_session_callbacks_new),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_data_source_read_length_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_begin_frame_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_begin_headers_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_data_chunk_recv_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_frame_recv_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_frame_send_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_header_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_invalid_frame_recv_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_on_stream_close_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_send_callback),
      ORLOP_SYMBOL(nghttp2_session_callbacks_set_send_data_callback),
      ORLOP_SYMBOL(nghttp2_session_check_request_allowed),
      ORLOP_SYMBOL(nghttp2_session_client_new3),
      ORLOP_SYMBOL(nghttp2_session_consume),
      ORLOP_SYMBOL(nghttp2_session_consume_connection),
      ORLOP_SYMBOL(nghttp2_session_consume_stream),
      ORLOP_SYMBOL(nghttp2_session_del),
      ORLOP_SYMBOL(nghttp2_session_get_last_proc_stream_id),
      ORLOP_SYMBOL(nghttp2_session_get_remote_settings),
      ORLOP_SYMBOL(nghttp2_session_get_stream_remote_close),
      ORLOP_SYMBOL(nghttp2_session_get_stream_user_data),
      ORLOP_SYMBOL(nghttp2_session_mem_recv),
      ORLOP_SYMBOL(nghttp2_session_resume_data),
      ORLOP_SYMBOL(nghttp2_session_send),
      ORLOP_SYMBOL(nghttp2_session_server_new3),
      ORLOP_SYMBOL(nghttp2_session_set_local_window_size),
      ORLOP_SYMBOL(nghttp2_session_set_stream_user_data),
      ORLOP_SYMBOL(nghttp2_session_terminate_session),
      ORLOP_SYMBOL(nghttp2_session_want_read),
      ORLOP_SYMBOL(nghttp2_session_want_write),
      ORLOP_SYMBOL(nghttp2_strerror),
      ORLOP_SYMBOL(nghttp2_submit_data),
      ORLOP_SYMBOL(nghttp2_submit_goaway),
      ORLOP_SYMBOL(nghttp2_submit_headers),
      ORLOP_SYMBOL(nghttp2_submit_ping),
      ORLOP_SYMBOL(nghttp2_submit_request),
      ORLOP_SYMBOL(nghttp2_submit_response),
      ORLOP_SYMBOL(nghttp2_submit_rst_stream),
      ORLOP_SYMBOL(nghttp2_submit_settings),
#undef ORLOP_SYMBOL
  };
  const char* library = nullptr;
  for (const auto& [name, function] : functions) {
    const char* from = LibraryOf(function);
    if (!from) return std::string(name) + " was not found";
    if (!library) library = from;
    if (strcmp(library, from) != 0) {
      return std::string("nghttp2 is mixed: ") + name + " comes from " + from + ", others from " + library;
    }
  }
  const unsigned long version = OpenSSL_version_num();
  if (version < 0x30500000UL)
    return std::string("OpenSSL 3.5 or newer is needed, this is ") + OpenSSL_version(OPENSSL_VERSION);
  return "";
}

}  // namespace orlop
