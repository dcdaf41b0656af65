// One reply to a request: from sampled tokens to what a client is told.
#pragma once

#include <utility>
#include <vector>

#include "fathom/model/sampling/generation.h"
#include "fathom/model/text/reply_parser.h"
#include "fathom/serve/engine/event.h"
#include "fathom/serve/engine/prepared_request.h"

namespace fathom::engine {

class ReplyReader {
 public:
  // The text must outlive the reader.
  ReplyReader(const PreparedRequest& request, const TextServices& text, Index choice_idx);

  // The next token of the reply. Only while it is not done.
  ReplyDelta push(const sampling::Picked& picked);
  // Whether all that follows would be dropped: a stop string, an end token, the only call that is
  // allowed is complete. The limit of tokens is not known here.
  bool is_done() const { return is_done_; }

  // What was held back, and the whole reply. `is_cut`: it ended for another reason than its own.
  std::pair<ReplyDelta, ChoiceEnd> finish(bool is_cut, bool is_constraint_released);

 private:
  void push_bytes(const sampling::Picked& picked);

  const text::TextModel* text_;
  text::ReplyParser parser_;
  bool ignores_end_;
  bool allows_parallel_calls_;
  bool is_done_ = false;
  ChoiceEnd end_;
};

}  // namespace fathom::engine
