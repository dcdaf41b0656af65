// Statistics of engines as Prometheus text (exposition format 0.0.4).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/serve/engine/stats.h"

namespace fathom::wire {

// Each model's statistics carry the label `model`.
std::string metrics_text(const std::vector<std::pair<std::string, engine::EngineStats>>& models);

}  // namespace fathom::wire
