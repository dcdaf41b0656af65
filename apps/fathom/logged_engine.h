// An engine that writes down what it is asked and what it says while its log wants that.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "fathom/serve/engine/engine.h"

#include "apps/fathom/serve_log.h"

namespace fathom::app {

class LoggedEngine final : public engine::Engine {
 public:
  LoggedEngine(std::shared_ptr<engine::Engine> engine, std::shared_ptr<ServeLog> log)
      : engine_(std::move(engine)), log_(std::move(log)) {}

  const engine::ModelLimits& limits() const override { return engine_->limits(); }
  const engine::TextServices& text() const override { return engine_->text(); }
  engine::RequestId submit(engine::PreparedRequest request, engine::EventSink sink) override;
  void cancel(engine::RequestId id) noexcept override { engine_->cancel(id); }
  engine::EngineStats stats() const override { return engine_->stats(); }

 private:
  std::string text_of(const std::vector<engine::TokenId>& ids) const;

  std::shared_ptr<engine::Engine> engine_;
  std::shared_ptr<ServeLog> log_;
  std::atomic<std::uint64_t> num_submitted_ = 0;
};

}  // namespace fathom::app
