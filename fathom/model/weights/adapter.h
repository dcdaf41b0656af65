// A low-rank adapter (LoRA) in memory: for every weight W it changes, matrices A and B such that
// the model computes with W + scale B A while W stays what it is.
//
// Reading and writing its files is adapter_file.h; a Store hands it out to the layers
// (Store::with_adapter).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/model/config/adapter_targets.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::weights {

// What stands beside one weight [O, K]; both matrices are F32 and belong to the adapter.
struct LowRank {
  numeric::WeightView a;  // [r, K]
  numeric::WeightView b;  // [O, r]
  double scale = 0;
};

class Adapter {
 public:
  using Key = std::pair<config::WeightKey, Index>;  // a weight, and which expert's (0 of one)

  // The numbers of one target, which stay where they are as long as the adapter: a trainer changes
  // them in place.
  struct Target {
    Index rows;     // O
    Index columns;  // K
    Index rank;     // r
    double alpha;
    double scale;
    std::vector<float> a;  // [r, K]
    std::vector<float> b;  // [O, r]

    LowRank low_rank() const;
  };

  // Adds a target; throws Internal for one that is there already.
  Target& add(const Key& key, Target&& target);
  // Null where the adapter changes nothing.
  const Target* find(const Key& key) const;
  std::map<Key, Target>& targets() { return targets_; }
  const std::map<Key, Target>& targets() const { return targets_; }

  Index num_parameters() const;

  // A text that identifies the weights it was made over; empty when its maker did not say.
  std::string base_fingerprint;
  // A hint for people: where its maker found them.
  std::string base_model;

 private:
  std::map<Key, Target> targets_;
};

struct NewAdapterOptions {
  std::vector<config::AdapterRank> ranks;
  double scale = 2;  // alpha / r of every target
  std::uint64_t seed = 0;
};

// An adapter that changes nothing yet: A is uniform in +-1 / sqrt(K), as PyPI peft draws it, B is
// zero. Of the model's layers, not of MTP blocks.
std::shared_ptr<Adapter> make_adapter(const config::ModelConfig& config,
                                      const NewAdapterOptions& options);

}  // namespace fathom::weights
