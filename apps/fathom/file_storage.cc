#include "apps/fathom/file_storage.h"

#include <map>
#include <memory>

namespace fathom::app {

plan::Storage storage_of_files(const OpenedModel& opened) {
  struct Stored {
    Index num_bytes = 0;
    numeric::WeightFormat format = numeric::WeightFormat::F32;
  };
  auto stored = std::make_shared<std::map<config::WeightKey, Stored>>();
  for (const config::WeightSpec& spec : config::weight_table(opened.config.model)) {
    Stored entry{.num_bytes = opened.store->stored_bytes(spec.key)};
    if (spec.storage != config::StorageClass::TokenIds && opened.store->has(spec.key)) {
      entry.format = opened.store->matrix(spec.key).view.format;
    }
    (*stored)[spec.key] = entry;
  }
  return {.bytes_of =
              [stored](const config::WeightSpec& spec) { return stored->at(spec.key).num_bytes; },
          .format_of =
              [stored](const config::WeightSpec& spec) { return stored->at(spec.key).format; }};
}

}  // namespace fathom::app
