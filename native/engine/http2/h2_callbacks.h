// 10, 11 · data thread · what nghttp2 calls: one table for all sessions. nghttp2 hands the session back as user data.
#pragma once

#include <nghttp2/nghttp2.h>

namespace orlop {

class H2Session;
class H2Stream;

class H2Callbacks {
 public:
  static const nghttp2_session_callbacks* Get();
  static ssize_t ReadData(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void* user_data);

 private:
  static H2Session& Of(void* user_data) { return *static_cast<H2Session*>(user_data); }
  // Null: the stream has left its session, or nobody ever took it.
  static H2Stream* StreamOf(nghttp2_session* session, int32_t id);
  static ssize_t Send(nghttp2_session*, const uint8_t* bytes, size_t length, int, void* user_data);
  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* header, size_t length,
                      nghttp2_data_source*, void* user_data);
  static ssize_t FrameLength(nghttp2_session*, uint8_t, int32_t, int32_t, int32_t, uint32_t, void* user_data);
  static int FrameSent(nghttp2_session*, const nghttp2_frame* frame, void* user_data);
  static int FrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int error, void* user_data);
  static int BeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* user_data);
  static int BeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data);
  static int Header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                    const uint8_t* value, size_t value_length, uint8_t, void* user_data);
  static int InvalidHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                           size_t name_length, const uint8_t* value, size_t value_length, uint8_t,
                           void* user_data);
  static int FrameReceived(nghttp2_session*, const nghttp2_frame* frame, void* user_data);
  static int InvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int error, void* user_data);
  static int DataChunk(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t length,
                       void* user_data);
  static int StreamClosed(nghttp2_session*, int32_t id, uint32_t code, void* user_data);
};

}  // namespace orlop
