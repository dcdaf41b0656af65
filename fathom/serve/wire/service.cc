#include "fathom/serve/wire/service.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::wire {

Service::Service(std::vector<ServedModel> models, const ServiceOptions& options)
    : models_(std::move(models)), options_(options) {
  FATHOM_CHECK(!models_.empty());
}

const ServedModel& Service::model(std::string_view name) const {
  const auto found = std::find_if(models_.begin(), models_.end(),
                                  [&](const ServedModel& model) { return model.name == name; });
  if (found != models_.end()) {
    return *found;
  }
  if (options_.strict_models && !name.empty()) {
    fail(ErrorCode::NotFound, "model: expected one of those that GET /v1/models lists, found \"",
         name, "\"");
  }
  return models_.front();
}

}  // namespace fathom::wire
