#include "fathom/model/layers/weight.h"

namespace fathom::layers {

const numeric::WeightView& Weight::view() const {
  if (!is_checked_.load(std::memory_order_relaxed)) [[unlikely]] {
    named_.make_ready();
    is_checked_.store(true, std::memory_order_relaxed);
  }
  return named_.view;
}

bool Weight::rounds_its_input() const {
  switch (named_.format) {
    case numeric::WeightFormat::Fp8:
    case numeric::WeightFormat::Fp4:
    case numeric::WeightFormat::Mxfp4:
      return true;
    default:
      return false;
  }
}

}  // namespace fathom::layers
