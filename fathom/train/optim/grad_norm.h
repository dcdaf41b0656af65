// The norm of all gradients of a step together, and clipping by it.
#pragma once

#include <span>

#include "fathom/train/optim/parameter.h"

namespace fathom::platform {
class ThreadPool;
}

namespace fathom::optim {

// Root of the sum of squares of every number, in double; the same bits for any number of threads.
// gradients[i] belongs to parameters[i] and may be empty. Throws InvalidArgument naming the
// parameter and the place of a number that is not finite: an optimiser must not see it.
double gradient_norm(std::span<const Parameter> parameters,
                     std::span<const std::span<const float>> gradients,
                     platform::ThreadPool& pool);

// What gradients of that norm are multiplied with so that it is at most `largest`; 1 where it is,
// and where `largest` is 0, for no limit. (PyTorch's clip_grad_norm_ divides by norm + 1e-6
// instead.)
double clip_factor(double norm, double largest);

}  // namespace fathom::optim
