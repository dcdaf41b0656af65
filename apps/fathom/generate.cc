// fathom generate: the greedy continuation of a token sequence.
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"

#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

using platform::Clock;
using platform::seconds_since;

struct GenerateCommand {
  RunOptions run;
  Index max_tokens = 0;
  double temperature = 0;
  bool ignore_eos = false;
};

void run_generate(const GenerateCommand& options) {
  // Not "> 0": NaN is none either.
  if (!(options.temperature == 0)) {
    fail(ErrorCode::Unsupported, "--temperature: found ", options.temperature,
         ", expected 0 (greedy): sampling is not supported");
  }
  const std::vector<std::int64_t> ids = read_tokens(options.run.tokens);
  const std::shared_ptr<Model> model = Model::open(options.run.model, options.run.model_options());
  // The last token is handed out and not computed.
  const std::vector<TokenId> prompt = check_tokens(ids, model->facts(), options.max_tokens - 1);

  const auto start = Clock::now();
  Session session = model->start();
  std::vector<float> logits = session.append(prompt);
  const double prompt_seconds = seconds_since(start);

  Progress progress("generate", options.max_tokens, "tokens");
  Index num_tokens = 0;
  const Generated generated = session.generate(
      std::move(logits), {.max_tokens = options.max_tokens,
                          .stop_at_end_token = !options.ignore_eos,
                          .on_token = [&](TokenId, double) { progress.update(++num_tokens); }});
  const double seconds = seconds_since(start);
  progress.finish();

  Report report;
  report.add("tokens", generated.tokens);
  report.add("logprobs", generated.logprobs);
  add_model_facts(report, options.run, model->facts());
  report.add("prompt_tokens", to_index(prompt.size()));
  report.add("prompt_tokens_per_s", static_cast<double>(prompt.size()) / prompt_seconds);
  if (num_tokens > 1) {  // the first token is the prompt's
    report.add("decode_tokens_per_s",
               static_cast<double>(num_tokens - 1) / (seconds - prompt_seconds));
  }
  add_run_facts(report, seconds);
  report.print(options.run.json);
}

}  // namespace

Command add_generate(CLI::App& program) {
  auto options = std::make_shared<GenerateCommand>();
  CLI::App* command = program.add_subcommand("generate", "Continue a sequence of tokens, greedily");
  add_run_options(*command, options->run);
  command->add_option("--max-tokens", options->max_tokens, "Tokens to generate at most")
      ->required()
      ->check(CLI::Range(Index{1}, kMaxCount))
      ->type_name("N");
  command->add_option("--temperature", options->temperature, "0: the most probable token each time")
      ->capture_default_str()
      ->type_name("X");
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after the end token");
  return {command, [options](InterruptWatch&) { run_generate(*options); }};
}

}  // namespace fathom::app
