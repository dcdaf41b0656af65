#include "fathom/train/optim/optimizer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/train/optim/adamw.h"
#include "fathom/train/optim/muon.h"

namespace fathom::optim {
namespace {

void require_share(std::string_view option, double value) {
  if (!(value >= 0 && value < 1)) {
    fail(ErrorCode::InvalidArgument, option, ": ", value, ", expected at least 0 and below 1");
  }
}

void require_not_negative(std::string_view option, double value) {
  if (!(value >= 0 && value <= 1e30)) {
    fail(ErrorCode::InvalidArgument, option, ": ", value, ", expected 0 or more");
  }
}

void check_options(const OptimizerOptions& options) {
  require_share("adamw.beta1", options.adamw.beta1);
  require_share("adamw.beta2", options.adamw.beta2);
  require_not_negative("adamw.epsilon", options.adamw.epsilon);
  require_share("muon.momentum", options.muon.momentum);
  require_not_negative("muon.update_rms", options.muon.update_rms);
  require_not_negative("weight_decay", options.weight_decay);
}

// Numbers of AdamW that a thread updates at a time; a matrix of Muon is one piece.
constexpr Index kAdamWPiece = 1 << 16;

struct Piece {
  std::size_t parameter;
  std::size_t first;
  std::size_t count;
};

class MixedOptimizer final : public Optimizer {
 public:
  MixedOptimizer(std::vector<Parameter> parameters,
                 const OptimizerOptions& options,
                 platform::ThreadPool& pool)
      : parameters_(std::move(parameters)), options_(options), pool_(pool) {
    check_options(options);
    std::set<std::string_view> names;
    for (const Parameter& parameter : parameters_) {
      FATHOM_CHECK(parameter.rows * parameter.columns == to_index(parameter.values.size()) &&
                   !parameter.values.empty());
      if (!names.insert(parameter.name).second) {
        fail(ErrorCode::InvalidArgument, parameter.name, ": two parameters have this name");
      }
      State& state = states_.emplace_back();
      state.first.resize(parameter.values.size());
      if (parameter.method == Method::AdamW) {
        state.second.resize(parameter.values.size());
      }
    }
    updates_.resize(parameters_.size());
    scratches_.resize(static_cast<std::size_t>(pool.num_threads()));
  }

  void step(std::span<const std::span<const float>> gradients,
            double gradient_scale,
            double learning_rate) override {
    FATHOM_CHECK(gradients.size() == parameters_.size());
    const Rates rates = {gradient_scale, learning_rate};
    const std::vector<Piece> pieces = pieces_of(gradients);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      updates_[i] += gradients[i].empty() ? 0.0F : 1.0F;
    }
    pool_.parallel_for(to_index(pieces.size()), [&](Index idx, int thread_idx) {
      const Piece& piece = pieces[to_size(idx)];
      update(piece, gradients[piece.parameter], rates,
             scratches_[static_cast<std::size_t>(thread_idx)]);
    });
    ++num_steps_;
  }

  std::span<const Parameter> parameters() const override { return parameters_; }

  std::vector<StateTensor> state() override {
    std::vector<StateTensor> tensors;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Parameter& parameter = parameters_[i];
      const auto add = [&](const char* kind, std::vector<float>& values) {
        tensors.push_back({kind + parameter.name, parameter.rows, parameter.columns, values});
      };
      if (parameter.method == Method::AdamW) {
        add("adamw.m.", states_[i].first);
        add("adamw.v.", states_[i].second);
      } else {
        add("muon.momentum.", states_[i].first);
      }
    }
    tensors.push_back({"updates", 1, to_index(updates_.size()), updates_});
    return tensors;
  }

  Index num_steps() const override { return num_steps_; }
  void set_num_steps(Index num_steps) override { num_steps_ = num_steps; }

 private:
  struct State {
    std::vector<float> first;   // m of AdamW, momentum of Muon
    std::vector<float> second;  // v of AdamW
  };
  struct Rates {
    double gradient_scale;
    double learning_rate;
  };

  std::vector<Piece> pieces_of(std::span<const std::span<const float>> gradients) const {
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const std::size_t count = gradients[i].size();
      FATHOM_CHECK(count == 0 || count == parameters_[i].values.size());
      const std::size_t step =
          parameters_[i].method == Method::Muon ? count : static_cast<std::size_t>(kAdamWPiece);
      for (std::size_t first = 0; first < count; first += step) {
        pieces.push_back({i, first, std::min(step, count - first)});
      }
    }
    return pieces;
  }

  void update(const Piece& piece,
              std::span<const float> gradient,
              const Rates& rates,
              MuonScratch<float>& scratch) {
    const Parameter& parameter = parameters_[piece.parameter];
    State& state = states_[piece.parameter];
    const double decay = parameter.decays ? options_.weight_decay : 0;
    if (parameter.method == Method::Muon) {
      muon_update<float>({.options = options_.muon,
                          .learning_rate = rates.learning_rate,
                          .weight_decay = decay,
                          .gradient_scale = rates.gradient_scale},
                         {.rows = parameter.rows,
                          .columns = parameter.columns,
                          .values = parameter.values,
                          .gradient = gradient,
                          .momentum = state.first},
                         scratch);
      return;
    }
    const auto part = [&](auto numbers) { return numbers.subspan(piece.first, piece.count); };
    adamw_update<float>({.options = options_.adamw,
                         .learning_rate = rates.learning_rate,
                         .weight_decay = decay,
                         .gradient_scale = rates.gradient_scale,
                         .step = static_cast<Index>(updates_[piece.parameter])},
                        {.values = part(parameter.values),
                         .gradient = part(gradient),
                         .mean = part(std::span<float>(state.first)),
                         .square = part(std::span<float>(state.second))});
  }

  std::vector<Parameter> parameters_;
  OptimizerOptions options_;
  platform::ThreadPool& pool_;
  std::vector<State> states_;
  std::vector<float> updates_;  // of each parameter; exact to 2^24
  std::vector<MuonScratch<float>> scratches_;
  Index num_steps_ = 0;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(std::vector<Parameter> parameters,
                                          const OptimizerOptions& options,
                                          platform::ThreadPool& pool) {
  return std::make_unique<MixedOptimizer>(std::move(parameters), options, pool);
}

}  // namespace fathom::optim
