// Floating-point operations of a model, counted two ways: the rule of thumb 6ND, and every product
// with attention at a context. A multiplication and an addition are two operations.
#pragma once

#include "fathom/base/core/index.h"
#include "fathom/model/config/model_config.h"

namespace fathom::plan {

// 6ND: two operations per active parameter and token forwards, four backwards.
double rule_of_thumb_training_flop(double active_parameters, double tokens);

// Of one token. Architecture specification 5.2.
struct TokenFlop {
  double linears = 0;           // matrices of the layers, of the routed experts the chosen ones
  double head = 0;              // logits
  double window_attention = 0;  // layers with nothing but a window
  double sparse_attention = 0;  // CSA: window and the indexer's choice
  double heavy_attention = 0;   // HCA: window and every compressed row
  double full_attention = 0;    // grouped attention over all tokens
  double indexer = 0;           // scores of every compressed row of the CSA layers
  double stream_mixing = 0;     // hyper-connections: sums over the streams
  double total() const;
};

// Decoding the token that has `context_tokens` tokens up to itself. At least 1.
TokenFlop decode_flop(const config::ModelConfig& config, Index context_tokens);

// The mean over the tokens of a prompt of so many, each with the tokens before it. With the head at
// every token in training (`with_head`), without it in a prefill.
TokenFlop mean_prefill_flop(const config::ModelConfig& config, Index prompt_tokens, bool with_head);

// Training: forwards, and twice that backwards, per token of sequences of this length, without MTP.
// The indexer counts as if it learned all the time, though it does so in a warm-up stage: at most
// that much too high.
double training_flop_per_token(const config::ModelConfig& config, Index sequence_tokens);

}  // namespace fathom::plan
