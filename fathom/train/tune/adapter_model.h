// A low-rank adapter as what is trained: its matrices are the parameters, the weights it stands
// beside are frozen.
#pragma once

#include <span>
#include <vector>

#include "fathom/model/weights/adapter.h"
#include "fathom/model/weights/name_map.h"
#include "fathom/train/loop/trainer.h"

namespace fathom::tune {

class AdapterModel final : public train::TrainedModel {
 public:
  // The adapter has to stay. Parameters are called as in its files, MODULE.lora_A and .lora_B; all
  // are AdamW's.
  AdapterModel(weights::Adapter& adapter, const weights::NameMap& names);

  const std::vector<optim::Parameter>& parameters() const { return parameters_; }

  autograd::ParameterGradients& gradients() override { return gradients_; }
  std::vector<std::span<const float>> gradient_values() override;
  // Layers read the parameters themselves.
  void follow_update(const train::LossSums& /*sums*/) override {}
  void refresh() override {}
  std::vector<optim::StateTensor> state() override { return {}; }

 private:
  void add(std::string name, Index rows, Index columns, std::vector<float>& numbers);

  std::vector<optim::Parameter> parameters_;
  autograd::ParameterGradients gradients_{tensor::DType::F32};
};

}  // namespace fathom::tune
