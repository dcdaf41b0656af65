// The tape of one step: every op that ran, and the way back through them.
//
//   ParameterGradients parameters(context.real);     // declare what is trained
//   Tape tape(context, parameters);                  // from here on the context records
//   ... the step ...
//   fill(tape.of(losses));                           // d loss / d losses
//   tape.run_backward();                             // sums into `parameters`
//
// What ops computed stays in step memory until the tape ends. Pieces of the step that say so
// (Recorder::record_segment: decoder layers) are not kept: they run again on the way back.
#pragma once

#include <functional>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "fathom/compute/autograd/gradient_memory.h"
#include "fathom/compute/autograd/parameter_gradients.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::autograd {

// Gradients are the same bits either way.
enum class Recomputation {
  Segments,  // keep what goes into each segment, compute the rest again
  Off,       // keep everything
};

class Tape final : public ops::Recorder, public ops::Gradients {
 public:
  // Only one tape at a time may record on a context, and nothing that was allocated in the
  // context's arena before may be taken back while it does.
  Tape(ops::Context& context,
       ParameterGradients& parameters,
       Recomputation recomputation = Recomputation::Segments);
  ~Tape() override;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  tensor::Tensor of(const tensor::Tensor& value) override;
  tensor::WritablePagedRows of(const tensor::PagedRows& rows) override;
  tensor::Tensor of(const numeric::WeightView& weight) override;
  tensor::Tensor of(std::span<const float> numbers) override;

  // From the last op to the first; the tape is empty afterwards. Gradients of values that were
  // there before the first op can be read then.
  void run_backward();

  // What the gradients of step memory took by now.
  Index gradient_bytes() const { return gradients_.touched_bytes(); }

  tensor::Tensor save(const tensor::Tensor& value) override;
  void record(std::string_view op,
              std::initializer_list<tensor::Tensor> outputs,
              ops::Backward backward) override;
  void record_segment(const tensor::Tensor& state, std::function<void()> piece) override;

 private:
  struct Saved {
    tensor::Tensor place;
    tensor::Tensor copy;
  };
  struct Entry {
    std::vector<tensor::Tensor> outputs;
    std::vector<Saved> saved;
    ops::Backward backward;
    std::function<void()> piece;  // of a segment
  };

  bool is_reached(const Entry& entry) const;
  void run_back_to(std::size_t num_entries);
  void run_segment_back(const Entry& entry);

  ops::Context& context_;
  ParameterGradients& parameters_;
  Recomputation recomputation_;
  GradientMemory& gradients_;
  Index first_used_bytes_;
  Index first_kept_bytes_;
  std::vector<Saved> pending_;  // of the next op to be recorded
  std::vector<Entry> entries_;
};

}  // namespace fathom::autograd
