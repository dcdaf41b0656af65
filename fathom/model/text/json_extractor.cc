#include "fathom/model/text/json_extractor.h"

#include <cstdint>
#include <utility>

namespace fathom::text {
namespace {

constexpr int kFenceTicks = 3;

bool is_space(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r';
}

// The language after a fence, as in ```json.
bool is_info(char letter) {
  const char lower = static_cast<char>(letter | 0x20);
  return (lower >= 'a' && lower <= 'z') || (letter >= '0' && letter <= '9') || letter == '_' ||
         letter == '+' || letter == '-' || letter == '.' || letter == '`';
}

}  // namespace

void JsonExtractor::push(std::string_view content, std::string& json) {
  for (const char letter : content) {
    push_letter(letter, json);
  }
}

void JsonExtractor::finish(std::string& json) {
  release(held_.size(), json);
}

void JsonExtractor::push_letter(char letter, std::string& json) {
  switch (state_) {
    case State::Seek:
      return seek(letter, json);
    case State::FenceInfo:
      if (is_info(letter)) {
        return;
      }
      state_ = State::FenceStart;
      [[fallthrough]];
    case State::FenceStart:
      if (is_space(letter)) {
        return;
      }
      state_ = State::Fence;
      [[fallthrough]];
    case State::Fence:
      return push_fenced(letter, json);
    case State::Brackets:
      return push_bracketed(letter, json);
    case State::After:
      return;
  }
}

void JsonExtractor::seek(char letter, std::string& json) {
  num_ticks_ = letter == '`' ? num_ticks_ + 1 : 0;
  if (num_ticks_ == kFenceTicks) {
    num_ticks_ = 0;
    state_ = State::FenceInfo;
  } else if (letter == '{' || letter == '[') {
    state_ = State::Brackets;
    push_bracketed(letter, json);
  }
}

bool JsonExtractor::is_in_string(char letter) {
  if (!is_string_) {
    is_string_ = letter == '"';
    return is_string_;
  }
  if (is_escaped_) {
    is_escaped_ = false;
  } else if (letter == '\\') {
    is_escaped_ = true;
  } else if (letter == '"') {
    is_string_ = false;
  }
  return true;
}

void JsonExtractor::push_fenced(char letter, std::string& json) {
  const bool is_text = is_in_string(letter);
  if (!is_text && letter == '`') {
    tail_.push_back(letter);
    if (++num_ticks_ == kFenceTicks) {
      state_ = State::After;
      finish(json);
    }
    return;
  }
  if (!is_text && is_space(letter) && num_ticks_ == 0) {
    tail_.push_back(letter);
    return;
  }
  num_ticks_ = 0;
  for (const char kept : std::exchange(tail_, {})) {
    accept(kept, json);
  }
  accept(letter, json);
}

void JsonExtractor::push_bracketed(char letter, std::string& json) {
  const bool is_text = is_in_string(letter);
  if (!is_text && (letter == '{' || letter == '[')) {
    ++depth_;
  } else if (!is_text && (letter == '}' || letter == ']')) {
    --depth_;
  }
  accept(letter, json);
  if (depth_ == 0 && state_ == State::Brackets) {
    state_ = State::After;
    finish(json);
  }
}

void JsonExtractor::accept(char letter, std::string& json) {
  if (state_ == State::After) {
    return;
  }
  const auto symbol = static_cast<Symbol>(static_cast<std::uint8_t>(letter));
  held_.push(symbol);
  node_ = stops_->next(node_, symbol);
  if (const auto match = stops_->match(node_)) {
    stop_ = match->id;
    state_ = State::After;
    release(held_.size() - match->length, json);
    held_.clear();
  } else {
    release(held_.size() - stops_->depth(node_), json);
  }
}

void JsonExtractor::release(Index count, std::string& json) {
  for (Index i = 0; i < count; ++i) {
    append_text(held_[i], json);
  }
  held_.drop_front(count);
}

}  // namespace fathom::text
