#include "fathom/model/weights/official_layout.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::weights {
namespace {

using formats::SafetensorsDType;
using numeric::ScaleFormat;
using numeric::WeightFormat;

SafetensorsDType dtype_of(WeightFormat format) {
  switch (format) {
    case WeightFormat::F32:
      return SafetensorsDType::F32;
    case WeightFormat::F16:
      return SafetensorsDType::F16;
    case WeightFormat::BF16:
      return SafetensorsDType::BF16;
    case WeightFormat::Fp8:
      return SafetensorsDType::F8E4M3;
    case WeightFormat::Fp4:
      return SafetensorsDType::I8;
    default:
      fail(ErrorCode::Unsupported, "safetensors has no form of ", to_string(format));
  }
}

class LayoutBuilder {
 public:
  LayoutBuilder(const config::StoragePlan& storage, const NameMap& names)
      : storage_(storage), names_(names) {}

  void add(const config::WeightSpec& spec, Index expert_idx) {
    OfficialMatrix matrix;
    matrix.spec = spec;
    matrix.expert_idx = expert_idx;
    matrix.name = names_.name(Dialect::Official, spec.key, expert_idx);
    matrix.tensor_idx = to_index(layout_.tensors.size());
    std::vector<Index> shape = spec.shape;
    SafetensorsDType dtype = SafetensorsDType::I64;
    if (spec.storage != config::StorageClass::TokenIds) {
      matrix.format = config::format_in(storage_, spec);
      dtype = dtype_of(*matrix.format);
      check_columns(matrix);
      shape.back() /= *matrix.format == WeightFormat::Fp4 ? 2 : 1;
    }
    layout_.tensors.push_back({matrix.name, dtype, std::move(shape), 0, 0});
    if (matrix.format == WeightFormat::Fp4 || matrix.format == WeightFormat::Fp8) {
      add_scales(matrix);
    }
    layout_.matrices.push_back(std::move(matrix));
  }

  OfficialLayout take() { return std::move(layout_); }

 private:
  static void check_columns(const OfficialMatrix& matrix) {
    if (*matrix.format == WeightFormat::Fp4 && matrix.columns() % numeric::kFp4ScaleColumns != 0) {
      fail(ErrorCode::InvalidArgument, matrix.name, ": ", matrix.columns(),
           " columns, expected a multiple of ", numeric::kFp4ScaleColumns, " for ",
           to_string(*matrix.format));
    }
  }

  void add_scales(OfficialMatrix& matrix) {
    const bool is_fp8 = *matrix.format == WeightFormat::Fp8;
    const bool is_f32 = is_fp8 && storage_.dense_scale == ScaleFormat::F32;
    matrix.scale_format = is_f32 ? ScaleFormat::F32 : ScaleFormat::E8M0;
    matrix.scale_tensor_idx = to_index(layout_.tensors.size());
    const Index rows = is_fp8 ? ceil_div(matrix.rows(), numeric::kFp8TileRows) : matrix.rows();
    const Index columns = is_fp8 ? ceil_div(matrix.columns(), numeric::kFp8TileColumns)
                                 : matrix.columns() / numeric::kFp4ScaleColumns;
    layout_.tensors.push_back({names_.scale_name(matrix.name),
                               is_f32 ? SafetensorsDType::F32 : SafetensorsDType::F8E8M0,
                               {rows, columns},
                               0,
                               0});
  }

  const config::StoragePlan& storage_;
  const NameMap& names_;
  OfficialLayout layout_;
};

}  // namespace

OfficialLayout official_layout(const config::ModelConfig& config,
                               const config::StoragePlan& storage,
                               const NameMap& names) {
  LayoutBuilder builder(storage, names);
  for (const config::WeightSpec& spec : config::weight_table(config)) {
    for (Index expert_idx = 0; expert_idx < std::max<Index>(spec.num_experts, 1); ++expert_idx) {
      builder.add(spec, expert_idx);
    }
  }
  return builder.take();
}

}  // namespace fathom::weights
