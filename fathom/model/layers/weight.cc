#include "fathom/model/layers/weight.h"

#include "fathom/base/core/error.h"

namespace fathom::layers {

const numeric::WeightView& Weight::view() const {
  if (!is_checked_.load(std::memory_order_relaxed)) [[unlikely]] {
    if (const auto bad = numeric::find_bad_scale(named_.view)) {
      fail(ErrorCode::InvalidCheckpoint, named_.name, ": the scale of row ", bad->row, ", block ",
           bad->column, " is not a number (E8M0 255 or a NaN), expected a finite scale");
    }
    is_checked_.store(true, std::memory_order_relaxed);
  }
  return named_.view;
}

bool Weight::rounds_its_input() const {
  switch (named_.view.format) {
    case numeric::WeightFormat::Fp8:
    case numeric::WeightFormat::Fp4:
    case numeric::WeightFormat::Mxfp4:
      return true;
    default:
      return false;
  }
}

}  // namespace fathom::layers
