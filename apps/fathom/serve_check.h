// `fathom serve --check`: would it start, and what would fit? Loads no weights, listens nowhere for
// longer than a moment.
#pragma once

#include "apps/fathom/serve_options.h"

namespace fathom::app {

// Prints what was found; throws for what would keep the server from starting.
void check_serve(const ServeOptions& options);

}  // namespace fathom::app
