#include <algorithm>
#include <array>
#include <utility>

#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/json_fields.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::config {
namespace {

// Settings of one run of the reference program.
constexpr auto kUnneededKeys = std::to_array<std::string_view>(
    {"max_batch_size", "scale_dtype", "scale_fmt", "temperature", "world_size"});

class InferenceReader {
 public:
  explicit InferenceReader(JsonFields fields) : fields_(std::move(fields)) {}

  ParsedConfig read() {
    static_cast<void>(fields_.text("score_func"));
    fields_.require_text("score_func", "sqrtsoftplus");
    fields_.require_text("scale_fmt", "ue8m0");
    read_facts();
    const Index num_layers = fields_.integer("n_layers", kLayerCountRange);
    Schedule schedule;
    schedule.ratios = fields_.integers("compress_ratios", kRatioRange);
    schedule.num_mtp = read_num_mtp(to_index(schedule.ratios.size()) - num_layers);
    schedule.routers = leading_hash_routers(parsed_.model.num_hash_layers, num_layers);
    read_ropes(schedule);
    const double limit = fields_.number("swiglu_limit", kSwigluLimitRange);
    schedule.swiglu_limits.assign(to_size(num_layers + schedule.num_mtp), limit);
    schedule.shared_swiglu_limits = schedule.swiglu_limits;
    set_layers(parsed_.model, schedule,
               {.num_layers = "n_layers", .num_mtp = "n_mtp_layers", .ratios = "compress_ratios"},
               fields_.file());
    check_contradictions(parsed_.model, Dialect::InferenceJson, fields_.file());
    read_storage();
    for (const std::string_view key : kUnneededKeys) {
      fields_.ignore(key);
    }
    parsed_.model.unknown_keys = fields_.unknown_keys();
    return std::move(parsed_);
  }

 private:
  void assume(std::string_view key, const std::string& value) {
    parsed_.assumed.push_back(std::string(key) + " = " + value);
  }

  void read_facts() {
    for (const IntegerFact& fact : deepseek_v4_integers()) {
      const std::string_view key = fact.names.inference_json;
      fields_.ignore(key);
      if (!fields_.has(key) && fact.published) {
        parsed_.model.*fact.member = *fact.published;
        assume(key, std::to_string(*fact.published));
      } else {
        parsed_.model.*fact.member = fields_.integer(key, fact.range);
      }
    }
    for (const NumberFact& fact : deepseek_v4_numbers()) {
      const std::string_view key = fact.names.inference_json;
      fields_.ignore(key);
      if (!fields_.has(key) && fact.published) {
        parsed_.model.*fact.member = *fact.published;
        assume(key, to_text(*fact.published));
      } else {
        parsed_.model.*fact.member = fields_.number(key, fact.range);
      }
    }
  }

  // The published files leave n_mtp_layers out and list one ratio more than layers: that of MTP.
  Index read_num_mtp(Index num_extra_ratios) {
    const std::string_view key = "n_mtp_layers";
    fields_.ignore(key);
    if (fields_.has(key)) {
      return fields_.integer(key, {0, kLayerCountRange.maximum});
    }
    const Index num_mtp = num_extra_ratios > 0 ? 1 : 0;
    assume(key, std::to_string(num_mtp));
    return num_mtp;
  }

  void read_ropes(Schedule& schedule) {
    schedule.plain_rope.base = fields_.number("rope_theta", kRopeBaseRange);
    schedule.compressed_rope.base = fields_.number("compress_rope_theta", kRopeBaseRange);
    for (const std::string_view key : {"rope_factor", "beta_fast", "beta_slow"}) {
      fields_.ignore(key);
    }
    const Index original_context = fields_.integer("original_seq_len", kYarnContextRange);
    if (original_context > 0) {
      schedule.compressed_rope.yarn = {.factor = fields_.number("rope_factor", kYarnNumberRange),
                                       .original_context = original_context,
                                       .beta_fast = fields_.number("beta_fast", kYarnNumberRange),
                                       .beta_slow = fields_.number("beta_slow", kYarnNumberRange)};
    }
  }

  void read_storage() {
    const auto experts = find_inference_expert_format(fields_);
    if (experts && fields_.has("dtype")) {
      parsed_.storage = make_storage_plan(*experts, require_dense_format(fields_));
    }
  }

  JsonFields fields_;
  ParsedConfig parsed_;
};

}  // namespace

ParsedConfig parse_inference_config_json(std::string_view json, const std::string& file) {
  return InferenceReader(JsonFields::parse(json, file)).read();
}

}  // namespace fathom::config
