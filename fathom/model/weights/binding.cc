#include "fathom/model/weights/binding.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_panels.h"
#include "fathom/model/config/config_facts.h"
#include "fathom/model/weights/gguf_format.h"

namespace fathom::weights {
namespace {

using config::StorageClass;
using config::WeightKey;
using config::WeightRole;
using config::WeightSpec;
using formats::GgufType;
using formats::SafetensorsDType;
using numeric::ScaleFormat;
using numeric::WeightFormat;

std::string_view dtype_name(const StoredTensor& tensor) {
  if (const auto* type = std::get_if<GgufType>(&tensor.dtype)) {
    return formats::gguf_type_info(*type).name;
  }
  return to_string(std::get<SafetensorsDType>(tensor.dtype));
}

// Format of the weights by dtype alone; FP4 and FP8 need scales besides.
std::optional<WeightFormat> format_of(const StoredTensor& tensor) {
  if (const auto* type = std::get_if<GgufType>(&tensor.dtype)) {
    return find_weight_format(*type);
  }
  switch (std::get<SafetensorsDType>(tensor.dtype)) {
    case SafetensorsDType::F32:
      return WeightFormat::F32;
    case SafetensorsDType::F16:
      return WeightFormat::F16;
    case SafetensorsDType::BF16:
      return WeightFormat::BF16;
    case SafetensorsDType::F8E4M3:
      return WeightFormat::Fp8;
    case SafetensorsDType::I8:
    case SafetensorsDType::U8:
      return WeightFormat::Fp4;
    default:
      return std::nullopt;
  }
}

bool is_plain(WeightFormat format) {
  return format == WeightFormat::F32 || format == WeightFormat::F16 || format == WeightFormat::BF16;
}

bool has_scales(WeightFormat format) {
  return format == WeightFormat::Fp8 || format == WeightFormat::Fp4;
}

bool is_integer_table(const StoredTensor& tensor) {
  if (const auto* type = std::get_if<GgufType>(&tensor.dtype)) {
    return *type == GgufType::I32 || *type == GgufType::I64;
  }
  const auto dtype = std::get<SafetensorsDType>(tensor.dtype);
  return dtype == SafetensorsDType::I32 || dtype == SafetensorsDType::I64;
}

// Facts that are no extents of tensors.
bool is_width(Index config::ModelConfig::*member) {
  using M = config::ModelConfig;
  constexpr Index M::*kOthers[] = {
      &M::max_context, &M::rope_dim,           &M::window,
      &M::index_top_k, &M::num_shared_experts, &M::num_hash_layers,
      &M::bos_token,   &M::eos_token,          &M::sinkhorn_iterations};
  return std::find(std::begin(kOthers), std::end(kOthers), member) == std::end(kOthers);
}

// The config's dimension that an expected extent comes from, if only one has that value.
std::string origin_of(const config::ModelConfig& config, config::Dialect dialect, Index extent) {
  std::string_view origin;
  for (const config::IntegerFact& fact : config::integer_facts(config.family)) {
    if (config.*fact.member != extent || !is_width(fact.member)) {
      continue;
    }
    if (!origin.empty()) {
      return {};
    }
    origin = fact.names.in(dialect);
  }
  return std::string(origin);
}

// Tensors in files that one role (and expert) is made of.
struct Source {
  const StoredTensor* weights = nullptr;
  const StoredTensor* scales = nullptr;
  bool is_half = false;  // gate and up share the tensor
  bool is_second_half = false;
};

// Names to sources, then sources to views.
class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const config::ModelConfig& config, const NameMap& names)
      : config_(config), names_(names), checkpoint_(checkpoint) {}

  Binding bind_all() {
    collect_sources();
    for (const WeightSpec& spec : config::weight_table(config_)) {
      bind(spec);
    }
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (used_.count(&tensor) == 0 && !names_.is_ignored(name)) {
        binding_.unexpected.push_back(name);
      }
    }
    return std::move(binding_);
  }

 private:
  using SourceKey = std::pair<WeightKey, Index>;  // role and expert, -1: all experts in one tensor

  void collect_sources() {
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      const std::optional<TensorName> parsed = names_.parse(name);
      if (!parsed) {
        continue;
      }
      if (parsed->dialect == Dialect::Transformers && !parsed->is_scale) {
        uses_transformers_names_ = true;
      }
      add_source(*parsed, tensor, false);
      if (parsed->second_role) {
        TensorName second = *parsed;
        second.key.role = *parsed->second_role;
        add_source(second, tensor, true);
      }
    }
  }

  void add_source(const TensorName& parsed, const StoredTensor& tensor, bool is_second_half) {
    Source& source = sources_[{parsed.key, parsed.expert_idx}];
    const StoredTensor*& place = parsed.is_scale ? source.scales : source.weights;
    if (place != nullptr) {
      fail(ErrorCode::InvalidCheckpoint, checkpoint_.file_of(tensor), ": ", place->name, " and ",
           tensor.name, " are two names of one tensor");
    }
    place = &tensor;
    source.is_half = source.is_half || parsed.second_role.has_value();
    source.is_second_half = is_second_half;
  }

  Dialect dialect() const {
    if (checkpoint_.container() == Container::Gguf) {
      return Dialect::Gguf;
    }
    return uses_transformers_names_ ? Dialect::Transformers : Dialect::Official;
  }

  void bind(const WeightSpec& spec) {
    BoundRole& bound = binding_.roles[spec.key];
    bound.shape = spec.shape;
    if (spec.storage == StorageClass::TokenIds) {
      bind_table(spec, bound);
      return;
    }
    const Index num_experts = std::max<Index>(spec.num_experts, 1);
    bound.matrices.resize(to_size(num_experts));
    bound.goes_into_panels = goes_into_panels(spec);
    const auto stacked = sources_.find({spec.key, -1});
    for (Index expert_idx = 0; expert_idx < num_experts; ++expert_idx) {
      const auto own = sources_.find({spec.key, expert_idx});
      const bool is_own = spec.num_experts > 0 && own != sources_.end();
      const Source* source = is_own                      ? &own->second
                             : stacked != sources_.end() ? &stacked->second
                                                         : nullptr;
      if (source == nullptr || source->weights == nullptr) {
        report_missing(bound, names_.name(dialect(), spec.key, expert_idx));
        continue;
      }
      bind_matrix(spec, *source, is_own ? 0 : expert_idx, is_own ? 0 : spec.num_experts, bound,
                  bound.matrices[to_size(expert_idx)]);
    }
  }

  bool goes_into_panels(const WeightSpec& spec) const {
    if (spec.key.role == WeightRole::OutputDown) {
      // A group of its rows is a matrix of its own; a panel must not lie across two of them.
      const Index group_rows = spec.shape.front() / config_.num_output_groups;
      return group_rows % numeric::kPanelRows == 0;
    }
    return is_multiplied(config_, spec);
  }

  void report_missing(BoundRole& bound, const std::string& name) {
    if (bound.missing.empty()) {
      bound.missing = name;
    }
    // A missing stacked tensor, or one shared by two roles, is one name.
    if (reported_.insert(name).second) {
      binding_.missing.push_back(name);
    }
  }

  void bind_table(const WeightSpec& spec, BoundRole& bound) {
    const auto found = sources_.find({spec.key, -1});
    if (found == sources_.end() || found->second.weights == nullptr) {
      report_missing(bound, names_.name(dialect(), spec.key, 0));
      return;
    }
    const StoredTensor& tensor = *found->second.weights;
    if (!is_integer_table(tensor)) {
      fail_dtype(tensor, "I64 or I32");
    }
    check_shape(tensor, spec.shape);
    used_.insert(&tensor);
    bound.table = &tensor;
  }

  // The view of one matrix. num_stacked > 0: the tensor holds that many along its first dimension,
  // and stack_idx chooses.
  void bind_matrix(const WeightSpec& spec,
                   const Source& source,
                   Index stack_idx,
                   Index num_stacked,
                   BoundRole& bound,
                   NamedView& out) {
    const StoredTensor& tensor = *source.weights;
    const bool is_vector = spec.shape.size() == 1;
    const std::optional<WeightFormat> format = format_of(tensor);
    if (!format || (is_vector && !is_plain(*format))) {
      fail_dtype(tensor, is_vector ? "F32, F16 or BF16"
                         : checkpoint_.container() == Container::Gguf
                             ? "a type of weights"
                             : "F32, F16, BF16, or F8_E4M3 or I8 with scales");
    }
    used_.insert(&tensor);
    const Index rows = is_vector ? 1 : spec.shape.front();
    const Index columns = spec.shape.back();
    const Index tensor_rows = source.is_half ? 2 * rows : rows;
    const Index packed_columns = *format == WeightFormat::Fp4 ? columns / 2 : columns;
    check_shape(tensor, stacked_shape(num_stacked,
                                      is_vector ? std::vector<Index>{columns}
                                                : std::vector<Index>{tensor_rows, packed_columns}));
    numeric::WeightView view;
    view.format = *format;
    view.rows = tensor_rows;
    view.columns = columns;
    const Index num_matrices = std::max<Index>(num_stacked, 1);
    view.row_stride_bytes = tensor.num_bytes / (num_matrices * tensor_rows);
    view.data = tensor.data + stack_idx * tensor_rows * view.row_stride_bytes;
    if (has_scales(*format)) {
      if (source.scales == nullptr) {
        report_missing(bound, names_.scale_name(tensor.name));
        return;
      }
      bind_scales(*source.scales, stack_idx, num_stacked, view);
    }
    out.name = tensor.name;
    if (num_stacked > 0) {
      out.name += "[" + std::to_string(stack_idx) + "]";
    }
    out.format = *format;
    out.view = source.is_half ? view.slice_rows(source.is_second_half ? rows : 0, rows) : view;
  }

  void bind_scales(const StoredTensor& scales,
                   Index stack_idx,
                   Index num_stacked,
                   numeric::WeightView& view) {
    const bool is_fp8 = view.format == WeightFormat::Fp8;
    const auto* dtype = std::get_if<SafetensorsDType>(&scales.dtype);
    const bool is_e8m0 =
        dtype != nullptr && (*dtype == SafetensorsDType::F8E8M0 || *dtype == SafetensorsDType::U8);
    const bool is_f32 = dtype != nullptr && *dtype == SafetensorsDType::F32;
    if (!is_e8m0 && !(is_fp8 && is_f32)) {
      fail_dtype(scales, is_fp8 ? "F8_E8M0 or F32" : "F8_E8M0");
    }
    if (!is_fp8 && view.columns % numeric::kFp4ScaleColumns != 0) {
      fail(ErrorCode::InvalidCheckpoint, checkpoint_.file_of(scales), ": ", scales.name, ": ",
           view.columns, " columns of FP4, expected a multiple of ", numeric::kFp4ScaleColumns);
    }
    const Index rows = is_fp8 ? ceil_div(view.rows, numeric::kFp8TileRows) : view.rows;
    const Index columns = is_fp8 ? ceil_div(view.columns, numeric::kFp8TileColumns)
                                 : view.columns / numeric::kFp4ScaleColumns;
    check_shape(scales, stacked_shape(num_stacked, {rows, columns}));
    used_.insert(&scales);
    view.scale_format = is_f32 ? ScaleFormat::F32 : ScaleFormat::E8M0;
    view.scale_row_stride_bytes = columns * (is_f32 ? 4 : 1);
    view.scales = scales.data + stack_idx * rows * view.scale_row_stride_bytes;
  }

  static std::vector<Index> stacked_shape(Index num_stacked, std::vector<Index> shape) {
    if (num_stacked > 0) {
      shape.insert(shape.begin(), num_stacked);
    }
    return shape;
  }

  void check_shape(const StoredTensor& tensor, const std::vector<Index>& expected) const {
    if (tensor.shape == expected) {
      return;
    }
    std::string reason;
    const bool is_same_rank = tensor.shape.size() == expected.size();
    for (std::size_t i = 0; is_same_rank && i < expected.size() && reason.empty(); ++i) {
      if (tensor.shape[i] != expected[i]) {
        const bool is_gguf = checkpoint_.container() == Container::Gguf;
        const std::string field = origin_of(
            config_, is_gguf ? config::Dialect::Gguf : config::Dialect::ConfigJson, expected[i]);
        if (!field.empty()) {
          reason = std::string(is_gguf ? " (its metadata" : " (config.json") + " says " + field +
                   " " + std::to_string(expected[i]) + ")";
        }
      }
    }
    fail(ErrorCode::InvalidCheckpoint, checkpoint_.file_of(tensor), ": ", tensor.name, ": shape ",
         to_text(tensor.shape), ", expected ", to_text(expected), reason);
  }

  [[noreturn]] void fail_dtype(const StoredTensor& tensor, std::string_view expected) const {
    fail(ErrorCode::InvalidCheckpoint, checkpoint_.file_of(tensor), ": ", tensor.name, ": dtype ",
         dtype_name(tensor), ", expected ", expected);
  }

  const config::ModelConfig& config_;
  const NameMap& names_;
  const Checkpoint& checkpoint_;
  Binding binding_;
  std::map<SourceKey, Source> sources_;
  std::set<const StoredTensor*> used_;
  std::set<std::string> reported_;
  bool uses_transformers_names_ = false;
};

}  // namespace

Binding bind(const Checkpoint& checkpoint,
             const config::ModelConfig& config,
             const NameMap& names) {
  return Binder(checkpoint, config, names).bind_all();
}

std::string to_text(const std::vector<Index>& shape) {
  std::ostringstream text;
  text << '[';
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text << (i == 0 ? "" : ", ") << shape[i];
  }
  text << ']';
  return text.str();
}

}  // namespace fathom::weights
