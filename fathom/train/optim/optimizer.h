// The optimiser of a run: AdamW and Muon over named parameters, with all state it keeps.
//
// Architecture specification 6.1 and 6.2. Deterministic: a step's result does not depend on the
// number of threads.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fathom/train/optim/parameter.h"

namespace fathom::platform {
class ThreadPool;
}

namespace fathom::optim {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-20;
};

struct MuonOptions {
  double momentum = 0.95;
  double update_rms = 0.18;  // gamma of specification 6.2
};

struct OptimizerOptions {
  AdamWOptions adamw = {};
  MuonOptions muon = {};
  double weight_decay = 0.1;  // per step, times the learning rate
};

// Numbers that an optimiser keeps between steps, under a name that no other has.
struct StateTensor {
  std::string name;  // "adamw.m." or such, then the parameter's name
  Index rows = 0;
  Index columns = 0;
  std::span<float> values;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // One update of every parameter; gradients[i] belongs to parameters()[i] and is empty where
  // nothing reached it (the parameter is left alone then, its state too: AdamW counts the updates
  // of each parameter, as PyTorch does). Gradients are multiplied by `gradient_scale` as they are
  // read (clipping, means over what was accumulated).
  virtual void step(std::span<const std::span<const float>> gradients,
                    double gradient_scale,
                    double learning_rate) = 0;

  virtual std::span<const Parameter> parameters() const = 0;
  // For checkpoints: what is written there is what the next step goes on from.
  virtual std::vector<StateTensor> state() = 0;
  // Calls of step(); a part of a checkpoint too.
  virtual Index num_steps() const = 0;
  virtual void set_num_steps(Index num_steps) = 0;
};

// The parameters' values and the pool have to stay where they are. Throws InvalidArgument naming
// the option that is out of its range, or two parameters of one name.
std::unique_ptr<Optimizer> make_optimizer(std::vector<Parameter> parameters,
                                          const OptimizerOptions& options,
                                          platform::ThreadPool& pool);

}  // namespace fathom::optim
