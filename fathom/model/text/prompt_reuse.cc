#include "fathom/model/text/prompt_reuse.h"

#include <algorithm>
#include <string_view>

#include "fathom/model/text/tokenizer.h"

namespace fathom::text {
namespace {

// Reads the bytes of ordinary tokens one after another.
class ByteWalk {
 public:
  ByteWalk(const Tokenizer& tokenizer, std::span<const std::int32_t> ids)
      : tokenizer_(tokenizer), ids_(ids) {}

  Index num_tokens() const { return num_tokens_; }
  bool is_at_border() const { return rest_.empty(); }
  bool is_at_end() const { return is_at_border() && num_tokens_ == to_index(ids_.size()); }
  // At a border and not at the end: the token that comes next.
  std::int32_t next() const { return ids_[to_size(num_tokens_)]; }
  void step() { rest_ = tokenizer_.bytes_of(ids_[to_size(num_tokens_++)]); }
  void skip() { ++num_tokens_; }
  std::string_view rest() const { return rest_; }
  void consume(std::size_t count) { rest_.remove_prefix(count); }

 private:
  const Tokenizer& tokenizer_;
  std::span<const std::int32_t> ids_;
  Index num_tokens_ = 0;   // begun
  std::string_view rest_;  // of the last of them
};

// Begins the next token where none is begun. False at the end, or where bytes do not count: a
// control token, an id without bytes.
bool refill(const Tokenizer& tokenizer, ByteWalk& walk) {
  if (!walk.is_at_border()) {
    return true;
  }
  if (walk.is_at_end() || tokenizer.is_control(walk.next()) ||
      tokenizer.bytes_of(walk.next()).empty()) {
    return false;
  }
  walk.step();
  return true;
}

}  // namespace

ReusablePrefix reusable_prefix(const Tokenizer& tokenizer,
                               std::span<const std::int32_t> cached,
                               std::span<const std::int32_t> prompt) {
  ByteWalk left(tokenizer, cached);
  ByteWalk right(tokenizer, prompt);
  ReusablePrefix longest{0, 0};
  while (true) {
    if (left.is_at_border() && right.is_at_border()) {
      longest = {left.num_tokens(), right.num_tokens()};
      if (left.is_at_end() || right.is_at_end()) {
        return longest;
      }
      if (left.next() == right.next()) {
        left.skip();
        right.skip();
        continue;
      }
    }
    if (!refill(tokenizer, left) || !refill(tokenizer, right)) {
      return longest;
    }
    const std::size_t count = std::min(left.rest().size(), right.rest().size());
    if (left.rest().substr(0, count) != right.rest().substr(0, count)) {
      return longest;
    }
    left.consume(count);
    right.consume(count);
  }
}

}  // namespace fathom::text
