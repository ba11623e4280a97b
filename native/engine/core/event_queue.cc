// 6 · data thread · the event half of the arena.
#include "engine/core/event_queue.h"

#include <cstring>

namespace orlop {

char* EventQueue::Room(size_t bytes) const {
  if (frozen_ || !waiting_.empty() || !Fits(bytes)) return nullptr;
  return reinterpret_cast<char*>(arena_ + ORLOP_ARENA_EVENT_TEXT + text_length_);
}

void EventQueue::Emit(const orlop_engine_event& event, const Texts& texts) {
  total_++;
  if (!frozen_ && waiting_.empty() && Write(event, texts)) return;
  Waiting& later = waiting_.emplace_back();
  later.event = event;
  for (int i = 0; i < 4; i++) later.text[i] = texts.text[i];
}

bool EventQueue::Write(const orlop_engine_event& event, const Texts& texts) {
  size_t length = 0;
  for (const auto& text : texts.text) length += text.size();
  if (!Fits(length)) return false;
  orlop_engine_event record = event;
  for (int i = 0; i < 4; i++) {
    const auto& text = texts.text[i];
    record.text[i] = {text_length_, static_cast<uint32_t>(text.size())};
    uint8_t* const place = arena_ + ORLOP_ARENA_EVENT_TEXT + text_length_;
    // What was written to Room lies there.
    const bool lies_there = reinterpret_cast<const uint8_t*>(text.data()) == place;
    if (!text.empty() && !lies_there) memcpy(place, text.data(), text.size());
    text_length_ += static_cast<uint32_t>(text.size());
  }
  memcpy(arena_ + ORLOP_ARENA_EVENTS + count_ * sizeof record, &record, sizeof record);
  count_++;
  return true;
}

uint32_t EventQueue::Deliver() {
  frozen_ = true;
  return count_;
}

void EventQueue::Delivered() {
  frozen_ = false;
  count_ = text_length_ = 0;
  while (!waiting_.empty()) {
    const Waiting& next = waiting_.front();
    if (!Write(next.event, {{next.text[0], next.text[1], next.text[2], next.text[3]}})) return;
    waiting_.pop_front();
  }
}

}  // namespace orlop
