// What all wire formats serve from: the models by name, and what is remembered between requests.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/engine/engine.h"
#include "fathom/serve/wire/conversation_store.h"
#include "fathom/serve/wire/sealed_text.h"

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
  // What reasoning that clients keep for us is sealed with; the same secret opens it after a
  // restart. Empty: one of this run.
  std::string sealing_secret = {};
};

class Service {
 public:
  explicit Service(const ServiceOptions& options);
  Service(std::vector<ServedModel> models, const ServiceOptions& options);

  // Once, when the models are loaded: at least one; the first answers names that are not served.
  void publish(std::vector<ServedModel> models);
  bool is_ready() const { return is_ready_.load(std::memory_order_acquire); }

  // None before they are published.
  const std::vector<ServedModel>& models() const;
  const ServiceOptions& options() const { return options_; }
  // An empty name is the first model. Throws NotFound for a name that is refused, Unavailable
  // before the models are published.
  const ServedModel& model(std::string_view name) const;
  // Whoever answers while the engine runs holds on to these instead of the service: that would
  // keep the engine, which must not be ended by a thread of its own.
  const std::shared_ptr<ConversationStore>& store() const { return store_; }
  const TextSeal& seal() const { return seal_; }

 private:
  std::vector<ServedModel> models_;
  std::atomic<bool> is_ready_ = false;
  ServiceOptions options_;
  std::shared_ptr<ConversationStore> store_;
  TextSeal seal_;
};

}  // namespace fathom::wire
