// fathom logits: the logits of every position of a token sequence, to an .npy file.
#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"

#include "apps/fathom/logits_file.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

struct LogitsOptions {
  RunOptions run;
  std::string out;
  Index step_tokens = 0;  // 0: the library's own bound
  bool mtp = false;
};

// How far a run is, in tokens times layers: a step of many tokens takes long.
class StepProgress {
 public:
  void start(Index num_tokens, Index num_layers, Index step_tokens) {
    num_tokens_ = num_tokens;
    num_layers_ = num_layers;
    step_tokens_ = step_tokens;
    line_.emplace("logits", num_tokens * num_layers, "tokens", static_cast<double>(num_layers));
  }
  void finish() { line_.reset(); }
  // Logits follow a step's last layer; the rows behind them belong to the next step.
  void rows_done(Index num_rows) { first_token_ = num_rows; }
  void layer_done(Index layer_idx) {
    if (line_) {
      const Index in_step = std::min(step_tokens_, num_tokens_ - first_token_);
      line_->update(first_token_ * num_layers_ + in_step * std::min(layer_idx + 1, num_layers_));
    }
  }

 private:
  std::optional<Progress> line_;
  Index num_layers_ = 0;
  Index num_tokens_ = 0;
  Index step_tokens_ = 0;
  Index first_token_ = 0;
};

void run_logits(const LogitsOptions& options, InterruptWatch& interrupts) {
  const std::vector<std::int64_t> ids = read_tokens(options.run.tokens);
  if (options.mtp && ids.size() < 2) {
    fail(ErrorCode::InvalidArgument, "--tokens: 1 token, expected at least 2 with --mtp");
  }
  StepProgress steps;
  ModelOptions model_options = options.run.model_options();
  model_options.raw_tokens = 0;  // this session never goes back
  if (options.step_tokens > 0) {
    model_options.step_tokens = options.step_tokens;
  }
  model_options.on_layer = [&steps](Index layer_idx) { steps.layer_done(layer_idx); };
  const std::shared_ptr<Model> model = Model::open(options.run.model, model_options);
  const ModelFacts& facts = model->facts();
  if (options.mtp && !facts.has_draft) {
    fail(ErrorCode::Unsupported, options.run.model,
         ": --mtp: this model has no multi-token prediction (MTP) block");
  }
  const std::vector<TokenId> tokens = check_tokens(ids, facts);
  const Index num_tokens = to_index(tokens.size());
  const Index num_rows = options.mtp ? num_tokens - 1 : num_tokens;
  LogitsFile file(options.out, num_rows, facts.vocab_size, interrupts);

  const auto start = platform::Clock::now();
  Session session = model->start();
  steps.start(num_tokens, facts.num_layers, model_options.step_tokens);
  const LogitsSink sink = [&](Index first, Index count, const float* logits) {
    file.append(count, logits);
    steps.rows_done(first + count);
  };
  if (options.mtp) {
    session.append_for_draft(tokens, sink);
  } else {
    session.append(tokens, sink);
  }
  const double seconds = platform::seconds_since(start);
  steps.finish();
  file.commit();

  Report report;
  add_model_facts(report, options.run, facts);
  report.add("tokens", num_tokens);
  report.add("vocab", facts.vocab_size);
  report.add("tokens_per_s", static_cast<double>(num_tokens) / seconds);
  add_run_facts(report, seconds);
  report.add("file", options.out);
  report.print(options.run.json);
}

}  // namespace

Command add_logits(CLI::App& program) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = program.add_subcommand(
      "logits", "Logits of every position, as float32 [T, V] in an .npy file");
  add_run_options(*command, options->run);
  command->add_option("--out", options->out, "The file to write")->required()->type_name("F.npy");
  command
      ->add_option("--chunk", options->step_tokens,
                   "Tokens computed at a time; changes memory and speed, not one bit of the logits "
                   "(default: all in one, above 512 tokens in steps of 512)")
      ->check(CLI::Range(Index{1}, kMaxCount))
      ->type_name("N");
  command->add_flag("--mtp", options->mtp,
                    "The MTP block's logits instead, [T-1, V]: row i from hidden i and token i+1");
  return {command, [options](InterruptWatch& interrupts) { run_logits(*options, interrupts); }};
}

}  // namespace fathom::app
