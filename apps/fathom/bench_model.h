// A model as `fathom bench` runs it: through the door, with random tokens.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/families.h"
#include "fathom/fathom.h"
#include "fathom/study/bench/kernels.h"
#include "fathom/study/bench/measure.h"

namespace fathom::app {

// What computing tokens takes, by the sizes in the files' headers.
class ModelCosts {
 public:
  explicit ModelCosts(const OpenedModel& opened);

  // Weight bytes that decoding one token reads, alone.
  double bytes_per_token() const;
  double multiply_adds_per_token() const;
  bool has_experts() const { return config_.num_experts > 0; }
  const config::ModelConfig& config() const { return config_; }

  // How the tensors of a role are stored: the format that most of their bytes are in.
  struct RoleStorage {
    config::Block block;
    config::WeightRole role;
    numeric::WeightFormat format;
    Index num_bytes;  // of all of them
  };
  // Of every role that has numbers; tables of ids are left out.
  const std::vector<RoleStorage>& storage() const { return storage_; }
  Index num_layers() const { return config_.num_layers(); }

  // Weight bytes that a step of a batch reads, per token. Nothing while it is not known how many
  // experts such a step chooses.
  std::optional<double> bytes_per_token(Index batch) const;
  // A mean for every layer.
  void set_distinct_experts(Index batch, std::vector<double> counts);

 private:
  config::ModelConfig config_;
  std::vector<RoleStorage> storage_;
  std::map<config::WeightKey, Index> stored_bytes_;
  std::map<Index, std::vector<double>> distinct_experts_;
};

// How the sequences of a batch begin: as copies of one, or each with tokens of its own, so that
// their steps choose more different experts.
enum class Beginnings { Shared, Apart };

// Counts how many experts of each layer the steps of a batch choose, by running some.
std::vector<double> count_distinct_experts(const std::string& path,
                                           ModelOptions options,
                                           Index num_layers,
                                           Index batch,
                                           Beginnings beginnings);

// The largest memory seen while the model worked; what the machine is probed with does not count.
struct MemoryPeak {
  std::optional<Index> resident_bytes = {};
  std::optional<Index> anonymous_bytes = {};
  std::optional<Index> file_mapped_bytes = {};
  Index measuring_bytes = 0;  // anonymous memory of the measuring itself, which is not counted

  static bool begin();  // from here on; says whether the system counts anew
  void end();
};

// Enough that the best of them met a quiet moment, and over in a fraction of a second.
inline constexpr int kMomentPasses = 5;

struct SubjectOptions {
  bench::Bound prefill_bound;
  const runtime::ReadBuffer& buffer;
  int num_passes = kMomentPasses;  // over it, and of the loop of a peak
  Beginnings beginnings = Beginnings::Shared;
};

class ModelSubject final : public bench::Subject {
 public:
  ModelSubject(std::shared_ptr<Model> model,
               const ModelCosts& costs,
               const SubjectOptions& options);

  // Touches every weight once: nothing of the first run is reading pages in.
  void warm_up();

  void prepare(const bench::Cell& cell) override;
  bench::Run run(const bench::Cell& cell) override;
  bench::Moment moment(bench::Phase phase) override;
  std::optional<double> cost_per_token(const bench::Cell& cell) override;

  const MemoryPeak& memory() const { return memory_; }

 private:
  std::vector<TokenId> random_tokens(Index count);
  bench::Run prefill(const bench::Cell& cell);
  bench::Run decode(const bench::Cell& cell);

  std::shared_ptr<Model> model_;
  const ModelCosts& costs_;
  SubjectOptions options_;
  platform::ThreadPool pool_;  // of the probes
  // By tokens: one beginning for all sequences, or one for each.
  std::map<Index, std::vector<Session>> filled_;
  std::mt19937 random_{20240229};  // the same tokens in every run of the program
  MemoryPeak memory_;
};

// Operations or bytes per second that the machine can do at this moment.
std::optional<double> measure_bound(platform::ThreadPool& pool,
                                    bench::Bound bound,
                                    const runtime::ReadBuffer& buffer);

}  // namespace fathom::app
