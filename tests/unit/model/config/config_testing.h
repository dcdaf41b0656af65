// Texts of configs for tests: those under tests/data, and copies of them with edits.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/model/config/read_config.h"

namespace fathom::config::testing {

inline std::string read_data(const std::string& path) {
  // Not operator+: g++ 12 warns of it wrongly.
  const std::string full = std::string(FATHOM_SOURCE_DIR "/tests/data/").append(path);
  std::ifstream file(full, std::ios::binary);
  EXPECT_TRUE(file.good()) << full;
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline const std::vector<std::string>& checkpoint_names() {
  static const std::vector<std::string> names = {"base-fp8-tiny", "bf16-tiny", "flash-tiny",
                                                 "pro-tiny", "trained-bytes"};
  return names;
}

inline std::string checkpoint_config(const std::string& name) {
  return read_data("golden/checkpoints/" + name + "/config.json");
}

inline ModelConfig builtin(const std::string& name) {
  return find_builtin_config(name).value().model;
}

// A config of Llama as transformers 5 saves it, and one as released files from before have it.
inline std::string llama_config() {
  return read_data("golden/checkpoints/llama-tiny/config.json");
}
inline std::string smollm2_config() {
  return R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
      "hidden_size": 576, "initializer_range": 0.041666666666666664, "intermediate_size": 1536,
      "is_llama_config": true, "max_position_embeddings": 8192, "mlp_bias": false,
      "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
      "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
      "tie_word_embeddings": true, "torch_dtype": "bfloat16",
      "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
      "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152})";
}

// The text with the members of `patch` set; a null erases the member (RFC 7396).
inline std::string patched(const std::string& text, const std::string& patch) {
  nlohmann::json json = nlohmann::json::parse(text);
  json.merge_patch(nlohmann::json::parse(patch));
  return json.dump();
}

// The error of `action`: code and message, and that every part stands in the message.
inline void expect_error(const std::function<void()>& action,
                         ErrorCode code,
                         const std::vector<std::string>& parts) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(to_string(error.code()), to_string(code)) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos)
          << "\"" << part << "\" is not in: " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return;
  }
  ADD_FAILURE() << "no error, expected one with \"" << (parts.empty() ? "" : parts.back()) << "\"";
}

}  // namespace fathom::config::testing
