// A run as one page of plots: loss, validation, learning rate, gradient norm, experts, throughput.
#pragma once

#include <filesystem>
#include <string>

#include "fathom/base/chart/report.h"
#include "fathom/train/loop/metrics.h"

namespace fathom::train {

chart::Report make_run_report(const MetricsHistory& history, const std::string& name);

// From a metrics file to a page that needs nothing from outside. Throws Io.
void write_run_report(const std::filesystem::path& metrics,
                      const std::filesystem::path& report,
                      const std::string& name);

}  // namespace fathom::train
