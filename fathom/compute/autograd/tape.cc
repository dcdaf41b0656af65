#include "fathom/compute/autograd/tape.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/compute/autograd/step_bytes.h"

namespace fathom::autograd {
namespace {

void move_numbers(platform::ThreadPool& pool,
                  const tensor::Tensor& from,
                  const tensor::Tensor& to) {
  copy_bytes(pool, static_cast<const std::byte*>(from.raw()), from.num_bytes(),
             static_cast<std::byte*>(to.raw()));
}

}  // namespace

Tape::Tape(ops::Context& context, ParameterGradients& parameters, Recomputation recomputation)
    : context_(context),
      parameters_(parameters),
      recomputation_(recomputation),
      gradients_(parameters.of_step(context.arena, context.pool)),
      first_used_bytes_(context.arena.used_bytes()),
      first_kept_bytes_(context.arena.kept_bytes()) {
  FATHOM_CHECK(context.recorder == nullptr);
  context.recorder = this;
}

Tape::~Tape() {
  context_.recorder = nullptr;
  context_.arena.release(first_kept_bytes_);
  context_.arena.rewind(first_used_bytes_);
}

tensor::Tensor Tape::of(const tensor::Tensor& value) {
  if (value.num_elements() == 0) {
    return value;
  }
  return {gradients_.mark(value.raw(), value.num_bytes()), value.dtype(), value.shape()};
}

tensor::WritablePagedRows Tape::of(const tensor::PagedRows& rows) {
  constexpr Index kRowsPerPage = tensor::RowTable<float>::kRowsPerPage;
  const Index num_pages = ceil_div(rows.num_rows, kRowsPerPage);
  const auto pages = context_.arena.allocate_array<void*>(num_pages);
  for (Index page = 0; page < num_pages; ++page) {
    const void* numbers = rows.pages[page];
    if (!gradients_.has(numbers)) {
      fail(ErrorCode::Unsupported,
           "backward through a cache that keeps copies of its rows, expected one that keeps the "
           "rows themselves (kv::WholeSequenceKv)");
    }
    const Index num_rows = std::min(kRowsPerPage, rows.num_rows - page * kRowsPerPage);
    const Index num_bytes = num_rows * tensor::row_bytes(rows.dtype, rows.width);
    pages[to_size(page)] = gradients_.mark(numbers, num_bytes);
  }
  return {
      .dtype = rows.dtype, .pages = pages.data(), .num_rows = rows.num_rows, .width = rows.width};
}

tensor::Tensor Tape::of(const numeric::WeightView& weight) {
  const tensor::Tensor found = parameters_.at(weight.data);
  FATHOM_CHECK(found.is_empty() || found.shape() == (tensor::Shape{weight.rows, weight.columns}));
  return found;
}

tensor::Tensor Tape::of(std::span<const float> numbers) {
  const tensor::Tensor found = parameters_.at(numbers.data());
  FATHOM_CHECK(found.is_empty() || found.num_elements() == to_index(numbers.size()));
  return found;
}

tensor::Tensor Tape::save(const tensor::Tensor& value) {
  const tensor::Tensor copy =
      tensor::Tensor::allocate(context_.arena, value.dtype(), value.shape());
  move_numbers(context_.pool, value, copy);
  pending_.push_back({value, copy});
  return copy;
}

void Tape::record(std::string_view op,
                  std::initializer_list<tensor::Tensor> outputs,
                  ops::Backward backward) {
  if (!backward) {
    fail(ErrorCode::Unsupported, "backward of ", op, ": not there, expected an op that has one");
  }
  entries_.push_back({.outputs = outputs,
                      .saved = std::exchange(pending_, {}),
                      .backward = std::move(backward),
                      .piece = {}});
  context_.arena.keep();
}

void Tape::record_segment(const tensor::Tensor& state, std::function<void()> piece) {
  if (recomputation_ == Recomputation::Off) {
    piece();
    return;
  }
  save(state);
  entries_.push_back({.outputs = {state},
                      .saved = std::exchange(pending_, {}),
                      .backward = {},
                      .piece = std::move(piece)});
  context_.arena.keep();
  const tensor::Arena::Scope scope(context_.arena);
  const ops::RecorderScope silence(context_, nullptr);
  entries_.back().piece();
}

bool Tape::is_reached(const Entry& entry) const {
  return std::any_of(entry.outputs.begin(), entry.outputs.end(), [&](const tensor::Tensor& output) {
    return gradients_.is_marked(output.raw(), output.num_bytes());
  });
}

void Tape::run_backward() {
  FATHOM_CHECK(pending_.empty());
  const ops::RecorderScope silence(context_, nullptr);
  run_back_to(0);
}

void Tape::run_back_to(std::size_t num_entries) {
  while (entries_.size() > num_entries) {
    const Entry entry = std::move(entries_.back());
    entries_.pop_back();
    if (is_reached(entry)) {
      if (entry.piece) {
        run_segment_back(entry);
      } else {
        const tensor::Arena::Scope scope(context_.arena);
        entry.backward(context_, *this);
      }
    }
    for (const Saved& saved : entry.saved) {
      move_numbers(context_.pool, saved.copy, saved.place);
    }
  }
}

void Tape::run_segment_back(const Entry& entry) {
  for (const Saved& saved : entry.saved) {
    move_numbers(context_.pool, saved.copy, saved.place);
  }
  const Index kept = context_.arena.kept_bytes();
  const Index used = context_.arena.used_bytes();
  const std::size_t num_entries = entries_.size();
  {
    const ops::RecorderScope recording(context_, this);
    entry.piece();
  }
  run_back_to(num_entries);
  context_.arena.release(kept);
  context_.arena.rewind(used);
  gradients_.clear_from(used);
}

}  // namespace fathom::autograd
