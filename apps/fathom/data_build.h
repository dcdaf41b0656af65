// fathom data build and fathom data inspect, the commands of the group `fathom data`.
#pragma once

#include "apps/fathom/options.h"

namespace fathom::app {

Command add_data_build(CLI::App& group);
Command add_data_inspect(CLI::App& group);

}  // namespace fathom::app
