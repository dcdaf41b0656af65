// Which models a server serves, with how much context and cache: from their headers alone.
#pragma once

#include <string>
#include <vector>

#include "fathom/serving.h"

#include "apps/fathom/serve_options.h"

namespace fathom::app {

struct ModelPlan {
  std::string name;
  std::string path;
  std::string family;
  Index file_bytes = 0;
  Index model_context = 0;  // tokens that the model can take
  Index context = 0;        // tokens that requests may have here
  Index raw_tokens = 0;     // a sequence goes back so far without computing anything again
  std::int64_t cache_budget_bytes = 0;
  Index cache_bytes_at_context = 0;  // of one sequence
  double cache_bytes_per_token = 0;
  Index available_bytes = 0;  // memory of the machine, before anything is loaded
  bool fits = true;           // weights, the budget and a tenth of it
};

// In the order in which they are served. Throws what opening throws, and InvalidArgument for two
// models of one name or a context that does not fit into the budget.
std::vector<ModelPlan> plan_models(const ServeOptions& options);

// The adapters of the first model. Throws InvalidArgument for a name that something else has.
std::vector<NamedAdapter> named_adapters(const ServeOptions& options);

// What a model is opened with.
ModelOptions model_options(const ServeOptions& options, const ModelPlan& plan);

}  // namespace fathom::app
