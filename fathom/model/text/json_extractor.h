// The JSON inside a reply that was asked for JSON without a grammar (text specification 2.7, P13).
//
// The first code fence, `{` or `[` opens it; text before it and after its matching end is dropped.
// Nothing is validated.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fathom/model/text/marker_matcher.h"

namespace fathom::text {

class JsonExtractor {
 public:
  // Stop strings count inside the JSON only; the set must outlive this.
  explicit JsonExtractor(const MarkerSet* stops) : stops_(stops) {}

  void push(std::string_view content, std::string& json);
  // The reply is over: text that might have become a stop string is released.
  void finish(std::string& json);
  // The id of the stop string that was met; what follows is dropped.
  std::optional<int> stop() const { return stop_; }

 private:
  enum class State { Seek, FenceInfo, FenceStart, Fence, Brackets, After };

  void push_letter(char letter, std::string& json);
  void seek(char letter, std::string& json);
  void push_fenced(char letter, std::string& json);
  void push_bracketed(char letter, std::string& json);
  // Whether the letter belongs to a JSON string, its quotes included.
  bool is_in_string(char letter);
  // Passes a letter of the JSON on, by way of the stop strings.
  void accept(char letter, std::string& json);
  void release(Index count, std::string& json);

  const MarkerSet* stops_;
  State state_ = State::Seek;
  int num_ticks_ = 0;
  Index depth_ = 0;
  bool is_string_ = false;
  bool is_escaped_ = false;
  std::string tail_;  // white space and ticks that may belong to the closing fence
  HeldSymbols held_;  // what may become a stop string
  MarkerSet::Node node_ = 0;
  std::optional<int> stop_;
};

}  // namespace fathom::text
