// What the op tests share: a runtime, and tensors from lists of numbers.
#pragma once

#include <random>
#include <vector>

#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/runtime/runtime.h"

#include "tests/support/compare.h"
#include "tests/support/tensor_file.h"

namespace fathom::ops {

// Ops on the default backend, each test with its own step memory.
class OpTest : public ::testing::Test {
 protected:
  static constexpr auto kOfficial = Numerics::Official;

  Context& context() { return runtime_.context(); }
  void use(Numerics numerics) { runtime_.context().numerics = numerics; }

  tensor::Tensor make(const tensor::Shape& shape, const std::vector<float>& values) {
    tensor::Tensor tensor = context().allocate(shape);
    FATHOM_CHECK(tensor.num_elements() == to_index(values.size()));
    std::copy(values.begin(), values.end(), tensor.data<float>());
    return tensor;
  }
  static std::vector<float> numbers(const tensor::Tensor& tensor) {
    return {tensor.data<float>(), tensor.data<float>() + tensor.num_elements()};
  }
  static std::vector<std::int32_t> ids(const tensor::Tensor& tensor) {
    return {tensor.data<std::int32_t>(), tensor.data<std::int32_t>() + tensor.num_elements()};
  }
  std::vector<float> random(Index count, float deviation = 1) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> values(to_size(count));
    for (float& value : values) {
      value = normal(engine_);
    }
    return values;
  }

  // Golden operands and results (tests/data/golden/README.md), BF16 widened.
  static const testing::TensorFile& golden() {
    static const testing::TensorFile file(FATHOM_SOURCE_DIR "/tests/data/golden/ops.safetensors");
    return file;
  }
  static std::vector<float> golden_bf16(const std::string& name) {
    std::vector<float> values;
    for (const std::uint16_t bits : golden().read<std::uint16_t>(name)) {
      values.push_back(numeric::bf16_to_float(bits));
    }
    return values;
  }

 private:
  runtime::Runtime runtime_{{.num_threads = 2}};
  std::mt19937 engine_{1};
};

// Rows in pages, as the cache hands them out.
class PagedTestRows {
 public:
  PagedTestRows(Index width, const std::vector<float>& values) : width_(width), values_(values) {
    constexpr Index kRows = tensor::RowTable<float>::kRowsPerPage;
    num_rows_ = to_index(values.size()) / width;
    values_.resize(to_size(ceil_div(num_rows_, kRows) * kRows * width));
    for (Index row = 0; row < num_rows_; row += kRows) {
      pages_.push_back(values_.data() + row * width);
    }
  }
  PagedTestRows(const PagedTestRows&) = delete;
  PagedTestRows& operator=(const PagedTestRows&) = delete;
  tensor::PagedRows rows() const {
    return {.dtype = tensor::DType::F32,
            .pages = pages_.data(),
            .num_rows = num_rows_,
            .width = width_};
  }

 private:
  Index width_;
  Index num_rows_ = 0;
  std::vector<float> values_;
  std::vector<const void*> pages_;
};

}  // namespace fathom::ops
