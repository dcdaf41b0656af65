// Options that run and chat share: how a reply is chosen, and what it must look like.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fathom/chat.h"

#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {

struct TextOptions {
  RunOptions run = RunOptions::with_numerics("fast");  // docs/numerics.md says why it may
  std::string dialect;
  std::string thinking;  // on, off or nothing
  std::string effort;
  std::string system;
  Index max_tokens = 0;
  std::vector<std::string> stop;
  sampling::SamplingOptions sampling;
  std::vector<std::string> logit_bias;  // ID:BIAS
  bool has_seed = false;
  std::string json_schema;  // files
  std::string regex;
  std::string grammar;
};

// Everything but the model's own options.
void add_text_options(CLI::App& command, TextOptions& options);

// Opens model and tokenizer. Throws InvalidArgument naming the option.
TextSession open_session(const TextOptions& options);

// A run without --seed draws another one each time; the seed is part of its report.
ReplyOptions reply_options(const TextOptions& options, const TextSession& session);

text::RenderOptions render_options(const TextOptions& options);

// Shows how far the prompt is; ends the line with the prompt.
std::function<void(Index done, Index total)> show_prompt(Progress& progress);

}  // namespace fathom::app
