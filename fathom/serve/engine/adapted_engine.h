// An engine's model with one of its adapters, as a model of its own.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "fathom/serve/engine/engine.h"

namespace fathom::engine {

class AdaptedEngine final : public Engine {
 public:
  // `engine` knows an adapter of this name; `limits` are its own: another fingerprint.
  AdaptedEngine(std::shared_ptr<Engine> engine, std::string adapter, ModelLimits limits)
      : engine_(std::move(engine)), adapter_(std::move(adapter)), limits_(std::move(limits)) {}

  const ModelLimits& limits() const override { return limits_; }
  const TextServices& text() const override { return engine_->text(); }
  RequestId submit(PreparedRequest request, EventSink sink) override {
    request.request.adapter = adapter_;
    return engine_->submit(std::move(request), std::move(sink));
  }
  void cancel(RequestId id) noexcept override { engine_->cancel(id); }
  // Nothing: the shared engine counts all of its requests, and is asked itself.
  EngineStats stats() const override { return {}; }

 private:
  std::shared_ptr<Engine> engine_;
  std::string adapter_;
  ModelLimits limits_;
};

}  // namespace fathom::engine
