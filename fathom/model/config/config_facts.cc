#include "fathom/model/config/config_facts.h"

#include "fathom/model/config/family_rows.h"

namespace fathom::config {

std::string_view FactNames::in(Dialect dialect) const {
  switch (dialect) {
    case Dialect::ConfigJson:
      return config_json;
    case Dialect::InferenceJson:
      return inference_json;
    case Dialect::Gguf:
      return gguf;
  }
  fail(ErrorCode::Internal, "unknown dialect of a config");
}

const std::vector<IntegerFact>& integer_facts(Family family) {
  return row_of(family).integers();
}

const std::vector<NumberFact>& number_facts(Family family) {
  return row_of(family).numbers();
}

std::string_view name_of(Family family, Index ModelConfig::*member, Dialect dialect) {
  for (const IntegerFact& fact : integer_facts(family)) {
    if (fact.member == member) {
      return fact.names.in(dialect);
    }
  }
  fail(ErrorCode::Internal, "a member of ModelConfig has no row in the table of facts");
}

void check_tokens(const ModelConfig& config, Dialect dialect, const std::string& file) {
  using M = ModelConfig;
  const auto check = [&](Index M::*member, Index token) {
    if (token >= config.vocab_size) {
      fail(ErrorCode::InvalidCheckpoint, file, ": ", name_of(config.family, member, dialect),
           ": expected less than ", name_of(config.family, &M::vocab_size, dialect), " (",
           config.vocab_size, "), found ", token);
    }
  };
  check(&M::bos_token, config.bos_token);
  check(&M::eos_token, config.eos_token);
  for (const Index token : config.more_eos_tokens) {
    check(&M::eos_token, token);
  }
}

}  // namespace fathom::config
