// fathom perplexity: how surprised a model is by a text.
#include "fathom/study/eval/perplexity.h"

#include <cmath>
#include <memory>
#include <numbers>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/core/ratio_of_sums.h"
#include "fathom/base/platform/clock.h"
#include "fathom/text_model.h"

#include "apps/fathom/input.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

struct PerplexityCommand {
  RunOptions run;
  std::string file;
  Index chunk = 512;
};

void run_perplexity(const PerplexityCommand& options) {
  const auto start = platform::Clock::now();
  const TextModel text_model = open_text_model(options.run.model);
  ModelOptions model_options = options.run.model_options();
  model_options.raw_tokens = 0;  // every chunk begins anew
  const std::shared_ptr<Model> model = Model::open(options.run.model, model_options);
  if (options.chunk > model->facts().max_context) {
    fail(ErrorCode::InvalidArgument, "--chunk: found ", options.chunk, ", expected at most ",
         model->facts().max_context, " (the context)");
  }
  const std::vector<TokenId> tokens =
      text_model.tokenizer->encode(read_text_input(options.file), text::ControlTokens::Plain);
  const eval::PerplexityPlan plan =
      eval::plan_perplexity(static_cast<Index>(tokens.size()), options.chunk);

  eval::RunningMean mean;
  RatioOfSums bits_per_byte;
  const Index vocab = model->facts().vocab_size;
  Progress progress("perplexity", plan.num_chunks * plan.chunk_tokens, "tokens");
  for (Index idx = 0; idx < plan.num_chunks; ++idx) {
    const std::vector<TokenId> chunk = eval::chunk_of(plan, tokens, idx, text_model.raw_text_bos);
    Session session = model->start();
    const std::span<const TokenId> context =
        std::span(chunk).first(to_size(plan.first_scored_row()));
    // The last token predicts nothing that the chunk holds.
    const std::span<const TokenId> scored =
        std::span(chunk).subspan(context.size(), to_size(plan.scored_per_chunk()));
    session.append(context);
    double bits = 0;
    double bytes = 0;
    session.append(scored, [&](Index first_row, Index num_rows, const float* logits) {
      for (Index row = 0; row < num_rows; ++row) {
        const TokenId target = chunk[context.size() + to_size(first_row + row + 1)];
        const double nats =
            eval::negative_log_likelihood({logits + row * vocab, to_size(vocab)}, target);
        mean.add(nats);
        bits += nats / std::numbers::ln2;
        bytes += static_cast<double>(text_model.tokenizer->bytes_of(target).size());
      }
    });
    bits_per_byte.add(bits, bytes);
    progress.update((idx + 1) * plan.chunk_tokens);
  }
  progress.finish();

  const double seconds = platform::seconds_since(start);
  Report report;
  report.add("perplexity", std::exp(mean.mean()));
  report.add("mean_nll", mean.mean());
  report.add("standard_error", mean.standard_error());
  report.add("bits_per_byte", bits_per_byte.ratio());
  if (const auto error = bits_per_byte.standard_error()) {
    report.add("bits_per_byte_standard_error", *error);
  }
  report.add("scored_tokens", mean.count());
  report.add("chunks", plan.num_chunks);
  report.add("chunk_tokens", plan.chunk_tokens);
  report.add("unscored_tail_tokens", plan.num_unscored_tail);
  add_model_facts(report, options.run, model->facts());
  report.add("tokens_per_s", static_cast<double>(plan.num_chunks * plan.chunk_tokens) / seconds);
  add_run_facts(report, seconds);
  report.print(options.run.json);
}

}  // namespace

Command add_perplexity(CLI::App& program) {
  auto options = std::make_shared<PerplexityCommand>();
  CLI::App* command = program.add_subcommand(
      "perplexity",
      "Score a text: mean negative log-likelihood per token, in nats, and its standard error.\n"
      "Chunks do not overlap; the second half of each is scored, as llama-perplexity does.\n"
      "Bits per byte compare models whose tokens differ; their standard error is of chunks.");
  add_model_options(*command, options->run);
  add_adapter_option(*command, options->run);
  command->add_option("file", options->file, "Text; - : standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--chunk", options->chunk, "Tokens computed together")
      ->capture_default_str()
      ->check(CLI::Range(Index{4}, kMaxCount))
      ->type_name("N");
  add_context_options(*command, options->run);
  return {command, [options](InterruptWatch&) { run_perplexity(*options); }};
}

}  // namespace fathom::app
