// How the files of an opened model store its tensors, as the planner asks it.
#pragma once

#include "fathom/families.h"
#include "fathom/study/plan/model_work.h"

namespace fathom::app {

// A copy of what the headers say: the model may be closed afterwards. Tensors that are missing have
// no bytes.
plan::Storage storage_of_files(const OpenedModel& opened);

}  // namespace fathom::app
