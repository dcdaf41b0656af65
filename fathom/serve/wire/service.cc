#include "fathom/serve/wire/service.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::wire {

Service::Service(const ServiceOptions& options)
    : options_(options),
      store_(std::make_shared<ConversationStore>(options.num_stored, options.stored_bytes)),
      seal_(options.sealing_secret) {}

Service::Service(std::vector<ServedModel> models, const ServiceOptions& options)
    : Service(options) {
  publish(std::move(models));
}

void Service::publish(std::vector<ServedModel> models) {
  FATHOM_CHECK(!models.empty() && !is_ready());
  models_ = std::move(models);
  is_ready_.store(true, std::memory_order_release);
}

const std::vector<ServedModel>& Service::models() const {
  static const std::vector<ServedModel> kNone;
  return is_ready() ? models_ : kNone;
}

const ServedModel& Service::model(std::string_view name) const {
  if (!is_ready()) {
    fail(ErrorCode::Unavailable, "the model is being loaded: ask again in a moment");
  }
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
