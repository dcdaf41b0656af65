// fathom logits: the logits of every position of a token sequence, to an .npy file.
#include <chrono>
#include <memory>
#include <span>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"

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

void run_logits(const LogitsOptions& options, InterruptWatch& interrupts) {
  const std::vector<std::int64_t> ids = read_tokens(options.run.tokens);
  if (options.mtp && ids.size() < 2) {
    fail(ErrorCode::InvalidArgument, "--tokens: 1 token, expected at least 2 with --mtp");
  }
  ModelOptions model_options = options.run.model_options();
  model_options.raw_tokens = 0;  // this session never goes back
  if (options.step_tokens > 0) {
    model_options.step_tokens = options.step_tokens;
  }
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

  const auto start = std::chrono::steady_clock::now();
  Session session = model->start();
  Progress progress("logits", num_rows, "tokens");
  const LogitsSink sink = [&](Index, Index count, const float* logits) {
    file.append(count, logits);
    progress.update(file.num_rows_written());
  };
  if (options.mtp) {
    session.append_for_draft(tokens, sink);
  } else {
    session.append(tokens, sink);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  file.commit();

  Report report;
  add_model_facts(report, options.run, facts);
  report.add("tokens", num_tokens);
  report.add("vocab", facts.vocab_size);
  report.add("tokens_per_s", static_cast<double>(num_tokens) / seconds.count());
  add_run_facts(report, seconds.count());
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
