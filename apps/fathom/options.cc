#include "apps/fathom/options.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/npy.h"
#include "fathom/base/formats/token_list.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/process_memory.h"

#include "apps/fathom/progress.h"

namespace fathom::app {

namespace {

std::function<void(std::int64_t, std::int64_t)> show_loading() {
  auto progress = std::make_shared<Progress>("load", 1, "GB", 1e9);
  return [progress](Index done, Index total) {
    progress->set_total(total);
    progress->update(done);
    if (done == total) {
      progress->finish();
    }
  };
}

}  // namespace

void show_warning(const std::string& warning) {
  std::fprintf(stderr, "fathom: warning: %s\n", warning.c_str());
}

RunOptions RunOptions::with_numerics(const std::string& name) {
  RunOptions options;
  options.numerics = name;
  return options;
}

ModelOptions RunOptions::model_options() const {
  return {.num_threads = num_threads,
          .backend = backend,
          .numerics = numerics,
          .adapter = adapter,
          .layout = layout,
          .on_load = show_loading(),
          .on_warning = show_warning,
          .max_context = max_context,
          .cache_budget_bytes = static_cast<std::int64_t>(cache_budget_bytes)};
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): std::function owns what it holds

void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "One JSON object on one line of stdout");
}

void add_threads_option(CLI::App& command, int& num_threads) {
  constexpr int kMaxThreads = 4096;
  command.add_option("--threads", num_threads, "Threads (default: one per processor)")
      ->check(CLI::Range(1, kMaxThreads))
      ->type_name("N");
}

void add_model_options(CLI::App& command, RunOptions& options) {
  command.add_option("model", options.model, "Checkpoint: a folder, .safetensors or .gguf")
      ->required()
      ->type_name("MODEL");
  add_backend_options(command, options);
}

void add_backend_options(CLI::App& command, RunOptions& options) {
  add_threads_option(command, options.num_threads);
  command.add_option("--backend", options.backend, "What computes")
      ->capture_default_str()
      ->type_name("reference[:f64]|cpu[:ISA]");
  command
      .add_option(
          "--numerics", options.numerics,
          "fp32 throughout, the published rounding, or int8 blocks and BF16 (docs/numerics.md)")
      ->capture_default_str()
      ->type_name("high|official|fast");
  command
      .add_option("--layout", options.layout,
                  "Weights in memory: as in the file, or copied into the order that products "
                  "read them in, which is faster; auto: that where memory is free")
      ->capture_default_str()
      ->type_name("auto|rows|panels");
  add_json_option(command, options.json);
}

void add_adapter_option(CLI::App& command, RunOptions& options) {
  command
      .add_option("--lora", options.adapter,
                  "Folder with a low-rank adapter (LoRA) to put beside the weights: of `fathom "
                  "tune` or of PyPI peft")
      ->type_name("ADAPTER");
}

void add_run_options(CLI::App& command, RunOptions& options) {
  add_model_options(command, options);
  add_adapter_option(command, options);
  command
      .add_option("--tokens", options.tokens, "Token ids: a 1-D int32 or int64 array, or a list")
      ->required()
      ->type_name("FILE.npy|1,2,3");
}

void add_context_options(CLI::App& command, RunOptions& options) {
  command
      .add_option("--ctx", options.max_context,
                  "Tokens of prompt and reply together at most (default: the model's context)")
      ->check(CLI::Range(Index{1}, kMaxCount))
      ->type_name("N");
  command
      .add_option("--cache-budget", options.cache_budget_bytes,
                  "Memory of the cache at that context: 4GB, 512MB (default: no limit)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES");
}

std::vector<std::int64_t> read_tokens(const std::string& option) {
  std::vector<std::int64_t> ids;
  if (option.ends_with(".npy")) {
    const platform::MappedFile file{option};
    ids = formats::parse_npy_integers(file.bytes(), option);
  } else {
    ids = formats::parse_token_list(option, "--tokens");
  }
  if (ids.empty()) {
    fail(ErrorCode::InvalidArgument, "--tokens ", option, ": no token, expected at least one");
  }
  return ids;
}

std::vector<TokenId> check_tokens(std::span<const std::int64_t> ids,
                                  const ModelFacts& facts,
                                  Index num_following) {
  const Index total = to_index(ids.size()) + num_following;
  if (total > facts.max_context) {
    fail(ErrorCode::InvalidArgument, "--tokens: ", total, " tokens",
         num_following > 0 ? " with --max-tokens" : "", ", expected at most ", facts.max_context,
         " (the model's context)");
  }
  std::vector<TokenId> tokens;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= facts.vocab_size) {
      fail(ErrorCode::InvalidArgument, "--tokens: position ", tokens.size(), ": token id ", id,
           ", expected 0 to ", facts.vocab_size - 1, " (vocabulary of ", facts.vocab_size, ")");
    }
    tokens.push_back(static_cast<TokenId>(id));
  }
  return tokens;
}

struct Report::Entries {
  nlohmann::ordered_json values = nlohmann::ordered_json::object();
};

Report::Report() : entries_(std::make_unique<Entries>()) {}
Report::~Report() = default;
Report::Report(Report&&) noexcept = default;

void Report::add(const std::string& key, const std::string& value) {
  entries_->values[key] = value;
}
void Report::add(const std::string& key, std::int64_t value) {
  entries_->values[key] = value;
}
void Report::add(const std::string& key, std::uint64_t value) {
  entries_->values[key] = value;
}
void Report::add(const std::string& key, double value) {
  entries_->values[key] = value;
}
void Report::add(const std::string& key, const std::vector<std::string>& values) {
  entries_->values[key] = values;
}
void Report::add(const std::string& key, const std::vector<TokenId>& values) {
  entries_->values[key] = values;
}
void Report::add(const std::string& key, const std::vector<double>& values) {
  entries_->values[key] = values;
}

void Report::add(const std::string& key,
                 const std::vector<std::vector<sampling::TokenLogprob>>& best_of_tokens) {
  auto rows = nlohmann::ordered_json::array();
  for (const auto& best : best_of_tokens) {
    auto row = nlohmann::ordered_json::array();
    for (const sampling::TokenLogprob& token : best) {
      row.push_back({{"id", token.id}, {"logprob", token.logprob}});
    }
    rows.push_back(std::move(row));
  }
  entries_->values[key] = std::move(rows);
}

void Report::print(bool json) const {
  using Json = nlohmann::ordered_json;
  if (json) {
    // A path need not be UTF-8.
    print_out(entries_->values.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  std::size_t width = 0;
  for (const auto& item : entries_->values.items()) {
    width = std::max(width, item.key().size());
  }
  const auto text_of = [](const Json& value) {
    return value.is_string()         ? value.get<std::string>()
           : value.is_number_float() ? fmt::format("{:.4f}", value.get<double>())
                                     : value.dump();
  };
  std::string text;
  for (const auto& item : entries_->values.items()) {
    std::string value;
    if (item.value().is_array()) {
      for (const Json& element : item.value()) {
        value += (value.empty() ? "" : ",") + text_of(element);
      }
    } else {
      value = text_of(item.value());
    }
    text += fmt::format("{:<{}}  {}\n", item.key(), width, value);
  }
  print_out(text);
}

void add_model_facts(Report& report, const RunOptions& options, const ModelFacts& facts) {
  report.add("model", options.model);
  if (!options.adapter.empty()) {
    report.add("lora", options.adapter);
  }
  report.add("backend", facts.backend);
  report.add("numerics", facts.numerics);
  report.add("layout", facts.layout);
  report.add("threads", std::int64_t{facts.num_threads});
  if (!facts.fallbacks.empty()) {
    report.add("reference_kernels", facts.fallbacks);
  }
}

void add_run_facts(Report& report, double seconds) {
  report.add("seconds", seconds);
  if (const auto peak = platform::peak_resident_bytes()) {
    report.add("peak_rss_bytes", *peak);
  }
}

void print_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(ErrorCode::Io, "write stdout: the system refused it");
  }
}

}  // namespace fathom::app
