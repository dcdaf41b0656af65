// Copying and zeroing large pieces of step memory by all threads.
#pragma once

#include <cstddef>

#include "fathom/base/platform/thread_pool.h"

namespace fathom::autograd {

void copy_bytes(platform::ThreadPool& pool, const std::byte* from, Index count, std::byte* to);
void zero_bytes(platform::ThreadPool& pool, Index count, std::byte* to);

}  // namespace fathom::autograd
