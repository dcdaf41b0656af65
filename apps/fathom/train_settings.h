// What `fathom train` can be told in its file: one table, from which the file is read, the dump in
// the run's folder written and the documentation printed.
#pragma once

#include "fathom/base/formats/settings.h"
#include "fathom/training.h"

namespace fathom::app {

// Rows that set `settings`, which has to stay.
formats::Settings train_settings_table(TrainSettings& settings);

}  // namespace fathom::app
