#include "fathom/train/tune/adapter_model.h"

#include <string_view>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::tune {

AdapterModel::AdapterModel(weights::Adapter& adapter, const weights::NameMap& names) {
  constexpr std::string_view kWeight = ".weight";
  for (auto& [key, target] : adapter.targets()) {
    std::string module = names.name(weights::Dialect::Official, key.first, key.second);
    FATHOM_CHECK(module.ends_with(kWeight));
    module.resize(module.size() - kWeight.size());
    add(module + ".lora_A", target.rank, target.columns, target.a);
    add(module + ".lora_B", target.rows, target.rank, target.b);
  }
}

void AdapterModel::add(std::string name, Index rows, Index columns, std::vector<float>& numbers) {
  parameters_.push_back({.name = std::move(name),
                         .rows = rows,
                         .columns = columns,
                         .values = numbers,
                         .method = optim::Method::AdamW,
                         .decays = true});
  gradients_.add(numbers.data(), rows, columns);
}

std::vector<std::span<const float>> AdapterModel::gradient_values() {
  std::vector<std::span<const float>> values;
  for (const optim::Parameter& parameter : parameters_) {
    const tensor::Tensor found = gradients_.find(parameter.values.data());
    values.push_back(found.is_empty()
                         ? std::span<const float>()
                         : std::span<const float>(found.data<float>(), parameter.values.size()));
  }
  return values;
}

}  // namespace fathom::tune
