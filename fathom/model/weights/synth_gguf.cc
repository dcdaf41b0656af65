#include "fathom/model/weights/synth_gguf.h"

#include <cstdint>
#include <optional>

#include "fathom/base/core/error.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/weights/gguf_format.h"

namespace fathom::weights {
namespace {

using config::ModelConfig;
using formats::GgufType;
using formats::GgufWriteValue;

constexpr Index kNumSpecials = 3;
constexpr Index kNumBytes = 256;

// llama.cpp's kinds of tokens.
constexpr std::int32_t kNormalToken = 1;
constexpr std::int32_t kUnknownToken = 2;
constexpr std::int32_t kControlToken = 3;
constexpr std::int32_t kByteToken = 6;

std::string byte_token(Index byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[to_size(byte / 16)] + kDigits[to_size(byte % 16)] + ">";
}

// The n-th of a, b .. z, aa, ab ..
std::string word(Index n) {
  std::string letters;
  for (++n; n > 0; n = (n - 1) / 26) {
    letters.insert(letters.begin(), static_cast<char>('a' + (n - 1) % 26));
  }
  return letters;
}

class MetadataBuilder {
 public:
  explicit MetadataBuilder(const ModelConfig& config) : config_(config) {}

  std::vector<GgufWriteValue> build(const std::string& name) {
    add("general.architecture", std::string(config::gguf_architecture(config_.family)));
    add("general.name", name);
    for (GgufWriteValue& value : config::make_gguf_facts(config_)) {
      values_.push_back(std::move(value));
    }
    add_vocabulary();
    return std::move(values_);
  }

 private:
  template <typename Value>
  void add(std::string key, Value value) {
    values_.push_back({std::move(key), std::move(value)});
  }

  void add_vocabulary() {
    if (config_.vocab_size < kNumSpecials + kNumBytes) {
      fail(ErrorCode::InvalidArgument, "vocab_size ", config_.vocab_size, ": expected at least ",
           kNumSpecials + kNumBytes, " for the vocabulary of a GGUF file");
    }
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<std::int32_t> types = {kUnknownToken, kControlToken, kControlToken};
    for (Index byte = 0; byte < kNumBytes; ++byte) {
      tokens.push_back(byte_token(byte));
      types.push_back(kByteToken);
    }
    for (Index n = 0; to_index(tokens.size()) < config_.vocab_size; ++n) {
      tokens.push_back("\u2581" + word(n));
      types.push_back(kNormalToken);
    }
    std::vector<float> scores;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      scores.push_back(-static_cast<float>(i));
    }
    add("tokenizer.ggml.model", std::string("llama"));
    add("tokenizer.ggml.pre", std::string("default"));
    add("tokenizer.ggml.tokens", std::move(tokens));
    add("tokenizer.ggml.scores", std::move(scores));
    add("tokenizer.ggml.token_type", std::move(types));
    add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  }

  const ModelConfig& config_;
  std::vector<GgufWriteValue> values_;
};

GgufType type_of_plan(numeric::WeightFormat format) {
  switch (format) {
    case numeric::WeightFormat::Fp4:
      return GgufType::MXFP4;
    case numeric::WeightFormat::Fp8:
      return GgufType::Q8_0;
    default:
      break;
  }
  const std::optional<GgufType> type = find_gguf_type(format);
  FATHOM_CHECK(type.has_value());
  return *type;
}

}  // namespace

std::vector<GgufWriteValue> make_gguf_metadata(const ModelConfig& config, const std::string& name) {
  return MetadataBuilder(config).build(name);
}

GgufType gguf_type_of(const config::WeightSpec& spec, const config::StoragePlan& plan) {
  using config::StorageClass;
  using config::WeightRole;
  if (spec.storage == StorageClass::TokenIds) {
    return GgufType::I32;
  }
  if (spec.shape.size() == 1 || spec.key.role == WeightRole::HeadMixFn) {
    return GgufType::F32;
  }
  if (spec.storage == StorageClass::Expert) {
    return type_of_plan(plan.experts);
  }
  const bool is_outer = spec.key.role == WeightRole::Embedding || spec.key.role == WeightRole::Head;
  const bool is_indexer = spec.key.role == WeightRole::IndexerQueryUp;
  const bool is_dense = spec.storage == StorageClass::Dense && !is_indexer;
  if (is_outer || is_dense || plan.dense == numeric::WeightFormat::F32) {
    return type_of_plan(plan.dense);
  }
  return GgufType::F16;
}

}  // namespace fathom::weights
