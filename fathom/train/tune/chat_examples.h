// Examples out of files of conversations, in the model's own chat format.
//
// A line of a JSONL file is {"messages": [...]}, with "tools" where there are some, as chat clients
// send it; {"text": ...} is a text of which every token counts. Of a conversation only what the
// model would have written counts: replies with their reasoning, calls and end token.
#pragma once

#include <filesystem>
#include <string>

#include "fathom/model/text/text_model.h"
#include "fathom/train/tune/example.h"

namespace fathom::tune {

struct ExampleOptions {
  Index most_tokens = 0;  // of a piece: at most the model's context
  // What becomes of a longer conversation: it loses its end, or is refused by name.
  bool cuts_long = false;
};

// Throws Io; InvalidArgument or Unsupported naming file, line and field.
ExampleSet read_chat_examples(const std::filesystem::path& file,
                              const text::TextModel& model,
                              const ExampleOptions& options);

// Pairs to prefer one of: {"prompt": ..., "chosen": ..., "rejected": ...}. The prompt is what the
// user says or a list of messages; the others are a reply, or messages that follow, or the whole
// conversation. Every target of the last reply counts, such that those of a pair sum to 1.
ExampleSet read_preference_examples(const std::filesystem::path& file,
                                    const text::TextModel& model,
                                    const ExampleOptions& options);

// Takes every n-th example out of a set, so that about `share` of them are held out, at least one
// and not all; which ones follows from the seed.
std::vector<Example> hold_out(std::vector<Example>& examples, double share, std::uint64_t seed);

}  // namespace fathom::tune
