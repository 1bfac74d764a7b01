#include "troupe/model/conversation.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

namespace troupe {

namespace {

/// Code points of valid UTF-8; this floor has no other to ask.
std::int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

void add(conversation_totals& to, const chat_message& message) {
  const auto size = [](const std::string& text) { return static_cast<std::int64_t>(text.size()); };
  to.content_bytes += size(message.text);
  to.bytes += size(message.text) + size(message.tool_call_id);
  to.characters += code_points(message.text);
  to.answers += message.from == role::assistant ? 1 : 0;
  to.calls += static_cast<std::int64_t>(message.tool_calls.size());
  for (const auto& call : message.tool_calls) {
    to.content_bytes += size(call.name) + size(call.arguments);
    to.bytes += size(call.id) + size(call.name) + size(call.arguments);
    to.characters += code_points(call.name) + code_points(call.arguments);
  }
}

} // namespace

/// Whoever moves `used` on owns the slot: of two copies of one list that grow, one goes on in the shared chunk, the other in its own.
struct conversation::chunk {
  explicit chunk(std::size_t room) : slots(room) {}
  std::vector<message_ptr> slots; ///< its size never changes
  std::atomic<std::size_t> used{0};
};

struct conversation::full_chunk {
  std::shared_ptr<const chunk> messages;
  std::vector<std::size_t> ids; ///< hashes of its calls' ids, sorted
};

const message_ptr& conversation::operator[](std::size_t at) const {
  const auto part = at / chunk_size;
  const auto& holds = full_ && part < full_->size() ? *(*full_)[part].messages : *last_;
  return holds.slots[at % chunk_size];
}

void conversation::push_back(message_ptr message) {
  const auto slot = size_ % chunk_size;
  if (slot == 0) {
    if (size_ > 0) {
      full_chunk done{last_, {}};
      for (const auto& each : last_->slots)
        if (each)
          for (const auto& call : each->tool_calls)
            done.ids.push_back(std::hash<std::string_view>{}(call.id));
      std::sort(done.ids.begin(), done.ids.end());
      auto longer = std::make_shared<chunk_list>();
      longer->reserve(size_ / chunk_size);
      if (full_)
        *longer = *full_;
      longer->push_back(std::move(done));
      full_ = std::move(longer);
    }
    last_ = std::make_shared<chunk>(size_ == 0 ? first_room : chunk_size);
    last_->used = 1;
  } else if (auto free = slot; slot == last_->slots.size() || !last_->used.compare_exchange_strong(free, slot + 1)) {
    auto own = std::make_shared<chunk>(chunk_size);
    std::copy_n(last_->slots.begin(), slot, own->slots.begin());
    own->used = slot + 1;
    last_ = std::move(own);
  }
  if (message)
    add(totals_, *message);
  last_->slots[slot] = std::move(message);
  ++size_;
}

bool conversation::has_call(std::string_view id) const {
  const auto is_in = [&](const message_ptr& message) {
    return message
           && std::any_of(message->tool_calls.begin(), message->tool_calls.end(), [&](const tool_call& call) { return call.id == id; });
  };
  const auto hash = std::hash<std::string_view>{}(id);
  if (full_)
    for (const auto& part : *full_)
      if (std::binary_search(part.ids.begin(), part.ids.end(), hash)
          && std::any_of(part.messages->slots.begin(), part.messages->slots.end(), is_in))
        return true;
  const auto before = full_ ? full_->size() * chunk_size : 0;
  return last_ && std::any_of(last_->slots.begin(), last_->slots.begin() + static_cast<std::ptrdiff_t>(size_ - before), is_in);
}

bool operator==(const conversation& a, const conversation& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

} // namespace troupe
