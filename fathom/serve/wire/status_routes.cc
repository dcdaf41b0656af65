#include "fathom/serve/wire/status_routes.h"

#include <utility>

#include "fathom/serve/wire/metrics.h"

namespace fathom::wire {
namespace {

http::Response health(const Service& service) {
  if (service.is_ready()) {
    return {.body = R"({"status":"ok"})"};
  }
  return {.status = 503, .body = R"({"status":"loading"})", .headers = {{"Retry-After", "1"}}};
}

http::Response metrics(const Service& service) {
  std::vector<std::pair<std::string, engine::EngineStats>> stats;
  for (const ServedModel& model : service.models()) {
    stats.emplace_back(model.name, model.engine->stats());
  }
  return {.content_type = "text/plain; version=0.0.4", .body = metrics_text(stats)};
}

}  // namespace

void add_status_routes(http::Router& router, const std::shared_ptr<const Service>& service) {
  for (const char* const path : {"/health", "/v1/health"}) {
    router.add(
        "GET", path,
        [service](const http::ExchangePtr& exchange) { exchange->respond(health(*service)); },
        http::Access::Open);
  }
  router.add("GET", "/metrics", [service](const http::ExchangePtr& exchange) {
    exchange->respond(metrics(*service));
  });
}

}  // namespace fathom::wire
