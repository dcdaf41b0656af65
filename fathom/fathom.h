// Fathom's public door: open a model, start a session, compute, generate, go back.
//
//   auto model = fathom::Model::open("path/to/checkpoint");
//   auto session = model->start();
//   std::vector<float> logits = session.append(prompt);     // of the next token
//
// Everything here throws fathom::Error (fathom/base/core/error.h). A Model is shared by sessions
// and computes one step at a time; sessions of one model must not run concurrently.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/error.h"

namespace fathom {

// Raised when a caller of this header must change.
inline constexpr int kApiVersion = 4;

using TokenId = std::int32_t;

struct ModelOptions {
  int num_threads = 0;            // 0: one per available processor
  std::string backend = "cpu";    // reference | reference:f64 | cpu | cpu:ISA
  std::string numerics = "high";  // high | official | fast (docs/numerics.md)
  // A folder with a low-rank adapter (LoRA) that stays beside the weights: adapter_config.json and
  // adapter_model.safetensors in the layout of PyPI peft. Empty: none.
  std::string adapter = {};
  bool pin_threads = false;  // one thread per core
  bool huge_pages = false;   // ask for huge pages under the mapped files
  // How weights lie in memory: rows (mapped from the files as they are), panels (copied into the
  // order in which the products of `fast` read them, each matrix when it is first needed, as much
  // memory again, which the files' pages give up), auto (panels where they help and are free).
  // Results are the same.
  std::string layout = "auto";
  // Told by Model::finish_loading() of bytes that were copied and of all. May throw.
  std::function<void(std::int64_t done, std::int64_t total)> on_load = {};
  // Told, in a sentence, what makes results doubtful: an adapter that was made over other weights.
  std::function<void(const std::string& warning)> on_warning = {};
  std::int64_t raw_tokens = 8192;           // a session goes back so far without replay
  std::int64_t checkpoint_interval = 4096;  // an older target replays fewer tokens than this
  std::int64_t max_context = 0;  // tokens a session may hold; 0, or more than that: the model's
  // Memory of one session's cache at the full context: raw_tokens is lowered to fit. 0: no limit.
  std::int64_t cache_budget_bytes = 0;
  // Tokens computed at a time: bounds the memory of a step, does not change a bit of its results.
  std::int64_t step_tokens = 512;
  // Told of every layer that a step has computed, from the thread that runs it: for progress.
  std::function<void(std::int64_t layer_idx)> on_layer = {};
  // Told of the experts that a layer's router chose for the tokens of a step, K for each token.
  std::function<void(std::int64_t layer_idx, std::span<const std::int32_t> expert_ids)> on_experts =
      {};
};

struct ModelFacts {
  std::string family;
  std::string backend;  // as chosen: "cpu:avx3"
  std::string numerics;
  std::string layout;  // rows | panels
  std::int64_t vocab_size;
  std::int64_t max_context;
  std::int64_t num_layers;
  bool has_draft;  // a multi-token prediction block
  int num_threads;
  // Ops that the reference computes although the cpu backend was asked for.
  std::vector<std::string> fallbacks;
};

// Rows [first_row, first_row + num_rows) of the logits of an append, row-major [num_rows, vocab].
using LogitsSink =
    std::function<void(std::int64_t first_row, std::int64_t num_rows, const float* logits)>;

struct GenerateOptions {
  std::int64_t max_tokens = 16;
  bool stop_at_end_token = true;
  std::function<void(TokenId token, double logprob)> on_token = {};  // told of every token at once
};
struct Generated {
  std::vector<TokenId> tokens;
  std::vector<double> logprobs;  // natural log of each token's probability
};

class Session;

class Model : public std::enable_shared_from_this<Model> {
 public:
  static std::shared_ptr<Model> open(const std::string& path, const ModelOptions& options = {});
  virtual ~Model() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual Session start() = 0;

  // Copies now what would be copied when weights are first needed (ModelOptions::layout): for a
  // server, and before speed is measured. Not while a session computes.
  virtual void finish_loading() = 0;
};

// One timeline of tokens with its cache.
class Session {
 public:
  class State;
  explicit Session(std::unique_ptr<State> state);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  std::int64_t num_tokens() const;
  const std::vector<TokenId>& tokens() const;

  // Computes tokens; returns the logits [V] after the last one. If it throws, the session is as it
  // was before.
  std::vector<float> append(std::span<const TokenId> tokens);
  // Computes tokens and hands out the logits of every one of them, in blocks of rows.
  void append(std::span<const TokenId> tokens, const LogitsSink& sink);
  // As above, but the logits of the draft block: row i predicts token i + 2 from hidden state i and
  // token i + 1, so there is one row less than tokens. Only on a session that has no tokens yet.
  void append_for_draft(std::span<const TokenId> tokens, const LogitsSink& sink);

  // Computes one token for each of several different sessions of one model, together: tokens[i]
  // goes to sessions[i], and row i of the logits is what sessions[i]->append would have given, bit
  // for bit. If it throws, all sessions are as they were before.
  static void append_each(std::span<Session* const> sessions,
                          std::span<const TokenId> tokens,
                          const LogitsSink& sink);

  // Goes back to the first `num_tokens` tokens. What follows is computed with bitwise the same
  // logits as in a fresh session. Returns how many tokens had to be computed again.
  std::int64_t truncate(std::int64_t num_tokens);

  // An independent copy that shares memory until one side writes.
  Session fork() const;

  // Greedy continuation from `logits`, those of the next token.
  Generated generate(std::vector<float> logits, const GenerateOptions& options);

  // Memory of the cache in bytes.
  std::int64_t cache_bytes() const;

 private:
  static std::vector<State*> states_of(std::span<Session* const> sessions,
                                       std::span<const TokenId> tokens);
  static void compute_each(std::span<State* const> states,
                           std::span<const TokenId> tokens,
                           std::int64_t first_row,
                           const LogitsSink& sink);

  std::unique_ptr<State> state_;
};

}  // namespace fathom
