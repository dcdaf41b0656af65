#include "fathom/model/weights/named_view.h"

#include "fathom/base/platform/mapped_file.h"

namespace fathom::weights {

void NamedView::make_ready() const {
  if (panels) {
    give_back(panels->fill(view));
  }
  check_scales(name, view);
}

void give_back(const std::optional<numeric::WeightView>& rows) {
  if (rows) {
    platform::give_back_pages(rows->data, rows->rows * rows->row_stride_bytes);
  }
}

}  // namespace fathom::weights
