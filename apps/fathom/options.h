// The options and the reports that all commands share.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/fathom.h"
#include "fathom/model/sampling/sampler.h"

namespace CLI {
class App;
}

namespace fathom::app {

class InterruptWatch;

// More than any count on a command line means.
inline constexpr Index kMaxCount = 1'000'000'000'000;

// How a run of a model was asked for.
struct RunOptions {
  std::string model;
  std::string tokens;  // FILE.npy or 1,2,3
  int num_threads = 0;
  std::string backend = "cpu";
  std::string numerics = "high";
  std::string layout = "auto";
  std::string adapter;  // a folder; empty: none
  bool json = false;
  Index max_context = 0;                 // 0: the model's
  std::uint64_t cache_budget_bytes = 0;  // 0: no limit

  static RunOptions with_numerics(const std::string& name);
  ModelOptions model_options() const;
};

// A command's options are added to the program; the returned function runs it after parsing.
using Run = std::function<void(InterruptWatch& interrupts)>;
struct Command {
  CLI::App* options;
  Run run;
};
Command add_inspect(CLI::App& program);
Command add_synth(CLI::App& program);
Command add_logits(CLI::App& program);
Command add_generate(CLI::App& program);
Command add_grad(CLI::App& program);
Command add_data(CLI::App& program);
Command add_merge(CLI::App& program);
Command add_tune(CLI::App& program);
Command add_parse_reply(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_detokenize(CLI::App& program);
Command add_render(CLI::App& program);
Command add_run(CLI::App& program);
Command add_chat(CLI::App& program);
Command add_serve(CLI::App& program);
Command add_perplexity(CLI::App& program);
Command add_bench(CLI::App& program);
Command add_plan(CLI::App& program);
Command add_probe(CLI::App& program);
Command add_train(CLI::App& program);

void add_json_option(CLI::App& command, bool& json);
void add_threads_option(CLI::App& command, int& num_threads);
// Threads, backend, numerics, --json.
void add_backend_options(CLI::App& command, RunOptions& options);
// The model and these.
void add_model_options(CLI::App& command, RunOptions& options);
// --lora.
void add_adapter_option(CLI::App& command, RunOptions& options);
// The model's, --lora and --tokens.
void add_run_options(CLI::App& command, RunOptions& options);
// --ctx and --cache-budget.
void add_context_options(CLI::App& command, RunOptions& options);

// On standard error.
void show_warning(const std::string& warning);

// The ids of --tokens. Throws InvalidArgument for what is no list of ids.
std::vector<std::int64_t> read_tokens(const std::string& option);
// The same as tokens of a model: throws InvalidArgument naming the first position with an id
// outside [0, vocab_size), or a sequence longer than max_context with what follows it.
std::vector<TokenId> check_tokens(std::span<const std::int64_t> ids,
                                  const ModelFacts& facts,
                                  Index num_following = 0);

// Facts of a run for its report, in order: rows of a table or, with --json, one object on one line.
class Report {
 public:
  Report();
  ~Report();
  Report(Report&&) noexcept;
  void add(const std::string& key, const std::string& value);
  void add(const std::string& key, std::int64_t value);
  void add(const std::string& key, std::uint64_t value);
  void add(const std::string& key, double value);
  void add(const std::string& key, const std::vector<std::string>& values);
  void add(const std::string& key, const std::vector<TokenId>& values);
  void add(const std::string& key, const std::vector<double>& values);
  // Of each token the n best: [[{"id": ..., "logprob": ...}, ...], ...].
  void add(const std::string& key,
           const std::vector<std::vector<sampling::TokenLogprob>>& best_of_tokens);
  void print(bool json) const;

 private:
  struct Entries;
  std::unique_ptr<Entries> entries_;
};

// Model, backend, numerics, threads, and the ops that fall back to the reference.
void add_model_facts(Report& report, const RunOptions& options, const ModelFacts& facts);
// Seconds and peak memory.
void add_run_facts(Report& report, double seconds);

// Text on stdout; throws Io when it cannot be written.
void print_out(const std::string& text);

}  // namespace fathom::app
