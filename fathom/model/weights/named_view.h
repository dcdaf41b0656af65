// A matrix where it lies, and its name for errors.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/model/weights/panel_memory.h"

namespace fathom::weights {

// A matrix with the name it has in its file, for errors.
struct NamedView {
  std::string name;
  numeric::WeightView view;
  // What the numbers are numbers of: the file's format, also when the view has them decoded. The
  // official numerics round the inputs of products by it.
  numeric::WeightFormat format = view.format;

  // What `view` lies in, if its panels are filled when they are first needed.
  std::shared_ptr<PanelMemory> panels = {};

  // To be called before the view's numbers are read for the first time: fills its panels, reads its
  // scales, and throws InvalidCheckpoint naming the tensor if one of them is not a number. Not from
  // a loop of the pool that fills panels.
  void make_ready() const;
};

// Gives back the pages of a mapped file that panels stand for now.
void give_back(const std::optional<numeric::WeightView>& rows);

}  // namespace fathom::weights
