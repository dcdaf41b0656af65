// Where the reader of a grammar's text stands. All errors say the line and the column.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/grammar.h"

namespace fathom::sampling {

class GrammarCursor {
 public:
  // `where` begins the messages of errors.
  GrammarCursor(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  [[noreturn]] void fail_here(const std::string& problem,
                              ErrorCode code = ErrorCode::InvalidArgument) const {
    const std::string_view before = text_.substr(0, offset_);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const auto line_begin = before.rfind('\n');
    const std::size_t column =
        line_begin == std::string_view::npos ? before.size() + 1 : before.size() - line_begin;
    fail(code, where_, ": ", problem, " at line ", line, ", column ", column);
  }

  std::size_t offset() const { return offset_; }
  void go_to(std::size_t offset) { offset_ = offset; }
  bool at_end() const { return offset_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[offset_]; }
  bool sees(std::string_view what) const { return text_.substr(offset_).starts_with(what); }
  bool take(std::string_view what) {
    if (!sees(what)) {
      return false;
    }
    offset_ += what.size();
    return true;
  }
  // As many characters as `is_wanted`; may be none.
  std::string_view take_while(auto is_wanted) {
    const std::size_t begin = offset_;
    while (!at_end() && is_wanted(text_[offset_])) {
      ++offset_;
    }
    return text_.substr(begin, offset_ - begin);
  }
  void skip_line() { offset_ = std::min(text_.find('\n', offset_), text_.size()); }

  std::uint32_t take_code_point() {
    const auto code_point = next_code_point(text_, offset_);
    if (!code_point) {
      fail_here("expected UTF-8");
    }
    return *code_point;
  }

  // The character that so many hexadecimal digits name.
  std::uint32_t take_hexadecimal(std::size_t num_digits) {
    const std::string digits(text_.substr(offset_, num_digits));
    if (digits.size() < num_digits ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      fail_here("expected hexadecimal digits");
    }
    const auto value = static_cast<std::uint32_t>(std::stoul(digits, nullptr, 16));
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF)) {
      fail_here("the escape is no Unicode character");
    }
    offset_ += num_digits;
    return value;
  }

  // How often something is repeated; -1 where there is no number.
  Index take_count() {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const std::string_view digits = take_while(is_digit);
    if (digits.empty()) {
      return -1;
    }
    Index value = 0;
    for (const char digit : digits) {
      value = std::min(value * 10 + (digit - '0'), kMaxRepetition + 1);
    }
    if (value > kMaxRepetition) {
      fail_here("repetition beyond 1,000,000", ErrorCode::Unsupported);
    }
    return value;
  }

 private:
  std::string_view text_;
  std::string where_;
  std::size_t offset_ = 0;
};

}  // namespace fathom::sampling
