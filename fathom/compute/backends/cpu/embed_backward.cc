// The gradient of an embedding table. A tile owns some columns of every row, so tokens that come
// more than once are added in their order.
#include <algorithm>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"

namespace fathom::cpu {
namespace {

constexpr Index kTileColumns = 64;

void embed_backward(const ops::EmbedBackwardArgs<float>& args, platform::ThreadPool& pool) {
  const Index columns = args.d_out.columns;
  pool.parallel_for(ceil_div(columns, kTileColumns), [&](Index tile, int /*thread*/) {
    const Index first = tile * kTileColumns;
    const Index count = std::min(kTileColumns, columns - first);
    for (Index token = 0; token < args.d_out.rows; ++token) {
      const float* d_out = args.d_out.row(token) + first;
      float* d_row = args.d_table.row(args.tokens[to_size(token)]) + first;
      for (Index i = 0; i < count; ++i) {
        d_row[i] += d_out[i];
      }
    }
  });
}

}  // namespace

void fill_embed_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.embed_backward = {&embed_backward, isa.name};
}

}  // namespace fathom::cpu
