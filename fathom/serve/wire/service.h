// What all wire formats serve from: the models by name, and what is remembered between requests.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/engine/engine.h"

namespace fathom::wire {

struct ServedModel {
  std::string name;
  std::shared_ptr<engine::Engine> engine = {};
  std::int64_t created_s = 0;  // Unix time
};

struct ServiceOptions {
  // Whether a model name that is not served is refused (404) rather than answered by the first.
  bool strict_models = false;
  // Responses and threads that are kept for `previous_response_id` and `thread`; 0: none are.
  Index num_stored = 1000;
  std::int64_t stored_bytes = std::int64_t{256} << 20;
  // Unsupported content (images, ...) is replaced by a line of text instead of refused.
  bool replaces_unsupported = false;
};

class Service {
 public:
  // At least one model; the first answers names that are not served.
  Service(std::vector<ServedModel> models, const ServiceOptions& options);

  const std::vector<ServedModel>& models() const { return models_; }
  const ServiceOptions& options() const { return options_; }
  // Throws NotFound for a name that is refused. An empty name is the first model.
  const ServedModel& model(std::string_view name) const;

 private:
  std::vector<ServedModel> models_;
  ServiceOptions options_;
};

}  // namespace fathom::wire
