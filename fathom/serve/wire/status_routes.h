// How a server is: for load balancers, for Prometheus, for the page's panel.
#pragma once

#include <memory>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

namespace fathom::wire {

// GET /health: 200 once models are served, 503 before; needs no key. GET /metrics.
void add_status_routes(http::Router& router, const std::shared_ptr<const Service>& service);

}  // namespace fathom::wire
