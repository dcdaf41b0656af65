// How ops tell of themselves while a step is recorded for a backward pass, and how their backward
// halves reach the gradients. The tape (compute/autograd) implements both.
//
// An op computes first and, if the context has a recorder, records itself: what it wrote and a
// function that turns the gradient of that into gradients of what it read. An op that overwrites
// its operand saves it first; on the way back the old numbers are put back, so that every op before
// finds the operands it saw. Its gradient is changed in place as well: from that of what the op
// left to that of what it found.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// d loss / d value for every value of a recorded step, zero until something is added.
class Gradients {
 public:
  virtual ~Gradients() = default;

  // Has the shape and dtype of the value, and is shared by every view of the same numbers.
  virtual tensor::Tensor of(const tensor::Tensor& value) = 0;
  virtual tensor::WritablePagedRows of(const tensor::PagedRows& rows) = 0;

  // Of a parameter, [rows, columns] of its dequantised matrix; empty if it is not trained.
  virtual tensor::Tensor of(const numeric::WeightView& weight) = 0;
  virtual tensor::Tensor of(std::span<const float> numbers) = 0;
};

using Backward = std::function<void(Context&, Gradients&)>;

class Recorder {
 public:
  virtual ~Recorder() = default;

  // A copy of what the next op to be recorded is about to overwrite, in step memory.
  virtual tensor::Tensor save(const tensor::Tensor& value) = 0;

  // What the op computed is `outputs`; everything it read has to stay, but for what it saved.
  // `backward` is not called when no gradient reached any of the outputs.
  virtual void record(std::string_view op,
                      std::initializer_list<tensor::Tensor> outputs,
                      Backward backward) = 0;

  // Runs a piece of the step that changes `state` in place and leaves nothing else. Instead of
  // recording what is in it, a tape may keep `state` as it was and run the piece again on the way
  // back; whatever else the piece reads has to be there then, and it may not depend on how often
  // it runs.
  virtual void record_segment(const tensor::Tensor& state, std::function<void()> piece) = 0;
};

// A context with another recorder, or none, until the end of a block.
class RecorderScope {
 public:
  RecorderScope(Context& context, Recorder* recorder)
      : context_(context), before_(std::exchange(context.recorder, recorder)) {}
  ~RecorderScope() { context_.recorder = before_; }
  RecorderScope(const RecorderScope&) = delete;
  RecorderScope& operator=(const RecorderScope&) = delete;

 private:
  Context& context_;
  Recorder* before_;
};

// Before an op overwrites `value`: the copy, or nothing when nobody records.
inline tensor::Tensor save_if_recording(Context& context, const tensor::Tensor& value) {
  return context.recorder == nullptr ? tensor::Tensor() : context.recorder->save(value);
}

// For ops without a backward half. Throws Unsupported naming the op.
inline void refuse_recording(const Context& context, std::string_view op) {
  if (context.recorder != nullptr) [[unlikely]] {
    fail(ErrorCode::Unsupported, "backward of ", op, ": not there, expected an op that has one");
  }
}

// The gradient of trained parameters as a kernel takes it: null where there is none.
template <typename Real>
tensor::MatrixView<Real> matrix_or_none(const tensor::Tensor& gradient) {
  return gradient.is_empty() ? tensor::MatrixView<Real>{} : gradient.matrix<Real>();
}
template <typename Real>
Real* data_or_none(const tensor::Tensor& gradient) {
  return gradient.is_empty() ? nullptr : gradient.data<Real>();
}

}  // namespace fathom::ops
