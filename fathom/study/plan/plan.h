// A plan: what a model is, what it takes, where it fits and how fast it is, from a config and the
// figures of a machine. Needs no weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fathom/study/plan/machine.h"
#include "fathom/study/plan/memory.h"
#include "fathom/study/plan/model_work.h"
#include "fathom/study/plan/percentiles.h"

namespace fathom::plan {

struct PlanRequest {
  config::ModelConfig config;
  Storage storage;
  std::optional<Machine> machine;  // without: sizes alone
  std::vector<Index> contexts = {4096};
  std::vector<Index> batches = {1};
  bool must_fit = false;  // refuse a batch that memory does not hold, instead of saying so
  Index prompt_tokens = 2048;
  double cached_share = 0;               // of the prompt that is in the cache already
  std::optional<double> mtp_acceptance;  // share of the drafts that are right
};

// Where the weights lie while the machine decodes.
enum class Placement { Ram, RamAndDisk, Nowhere };
std::string_view to_string(Placement placement);

struct DecodeCell {
  Index context = 0;
  Index batch = 1;
  MemoryParts memory;
  Placement placement = Placement::Nowhere;
  std::string reason;                               // why not in memory
  std::optional<Percentiles> tokens_per_s;          // of all sequences together
  std::optional<Percentiles> drafted_tokens_per_s;  // with the MTP block
};

struct PrefillResult {
  Index prompt_tokens = 0;
  Index computed_tokens = 0;                // those that are not in the cache
  std::optional<Percentiles> tokens_per_s;  // of those that are computed
  std::optional<Percentiles> first_token_s;
};

struct QuantisationFit {
  Quantisation quantisation;
  Index weights_bytes = 0;
  Index decode_bytes_per_token = 0;
  Fit ram;
  Fit ram_and_disk;
  Fit accelerators;
};

struct Plan {
  config::ParameterCount parameters;
  config::WeightBytes weights;
  Index decode_bytes_per_token = 0;
  Amounts decode_work{};           // of one token at the first context
  std::vector<DecodeCell> decode;  // every context with every batch
  PrefillResult prefill;
  std::vector<QuantisationFit> fits;  // at the first context and the first batch
  std::string no_speed;               // why there are no speeds; empty where there are
};

// Throws InvalidArgument naming the option of what cannot be: a context beyond the model's, a share
// outside 0 to 1, a batch that memory does not hold (where must_fit).
Plan make_plan(const PlanRequest& request);

// What the model is known as, to say how far its own count is from it.
struct PublishedSize {
  std::string_view name;  // of the built-in config
  double total;
  bool with_mtp;
  double active;
};
std::optional<PublishedSize> find_published_size(std::string_view name);

}  // namespace fathom::plan
