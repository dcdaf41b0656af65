#include "fathom/train/loop/run_state.h"

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"

namespace fathom::train {
namespace {

using Json = nlohmann::ordered_json;

// The members of an object, each of which must be there.
class Members {
 public:
  Members(const Json& object, const std::string& source) : object_(object), source_(source) {
    if (!object.is_object()) {
      fail(ErrorCode::InvalidCheckpoint, source, ": run: expected a JSON object");
    }
  }

  const Json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      fail(ErrorCode::InvalidCheckpoint, source_, ": run: no ", key);
    }
    return *found;
  }

  Index count(const char* key) const {
    const Json& value = at(key);
    const bool is_count = value.is_number_integer() && value.get<Index>() >= 0 &&
                          (!value.is_number_unsigned() ||
                           value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX));
    return is_count ? value.get<Index>() : refuse<Index>(key, "a count");
  }

  double number(const char* key) const {
    const Json& value = at(key);
    return value.is_number() ? value.get<double>() : refuse<double>(key, "a number");
  }

  std::vector<double> numbers(const char* key) const {
    const Json& list = at(key);
    std::vector<double> values;
    for (const Json& value : list) {
      if (!list.is_array() || !value.is_number()) {
        refuse<double>(key, "a list of numbers");
      }
      values.push_back(value.get<double>());
    }
    return values;
  }

  template <typename Value>
  Value refuse(const char* key, const char* expected) const {
    fail(ErrorCode::InvalidCheckpoint, source_, ": run: ", key, ": expected ", expected);
  }

 private:
  const Json& object_;
  const std::string& source_;
};

}  // namespace

std::string print_run_state(const RunState& state) {
  Json json = {{"step", state.trainer.step},
               {"tokens", state.trainer.tokens},
               {"refused_steps", state.trainer.refused_steps},
               {"refused_in_a_row", state.trainer.refused_in_a_row},
               {"losses", state.trainer.history.losses},
               {"norms", state.trainer.history.norms},
               {"optimizer_steps", state.optimizer_steps},
               {"metrics_bytes", state.metrics_bytes},
               {"seconds", state.seconds},
               {"last_loss", state.last_loss},
               {"rollbacks", state.rollbacks},
               {"rollbacks_in_a_row", state.rollbacks_in_a_row},
               {"furthest_step", state.furthest_step},
               {"best", nullptr},
               {"last_validation", nullptr},
               {"validations_since_best", state.validations_since_best}};
  if (state.best) {
    json["best"] = {{"loss", state.best->loss}, {"step", state.best->step}};
  }
  if (state.last_validation) {
    json["last_validation"] = *state.last_validation;
  }
  return json.dump();
}

RunState parse_run_state(const std::string& text, const std::string& source) {
  const Json json = Json::parse(text, nullptr, false);
  const Members members(json, source);
  RunState state;
  state.trainer = {.step = members.count("step"),
                   .tokens = members.count("tokens"),
                   .refused_steps = members.count("refused_steps"),
                   .refused_in_a_row = members.count("refused_in_a_row"),
                   .history = {members.numbers("losses"), members.numbers("norms")}};
  if (state.trainer.history.losses.size() != state.trainer.history.norms.size()) {
    members.refuse<Index>("norms", "as many as losses");
  }
  state.optimizer_steps = members.count("optimizer_steps");
  state.metrics_bytes = members.count("metrics_bytes");
  state.seconds = members.number("seconds");
  state.last_loss = members.number("last_loss");
  state.rollbacks = members.count("rollbacks");
  state.rollbacks_in_a_row = members.count("rollbacks_in_a_row");
  state.furthest_step = members.count("furthest_step");
  if (!members.at("best").is_null()) {
    const Members best(members.at("best"), source);
    state.best = RunState::Best{best.number("loss"), best.count("step")};
  }
  if (!members.at("last_validation").is_null()) {
    state.last_validation = members.number("last_validation");
  }
  state.validations_since_best = members.count("validations_since_best");
  return state;
}

}  // namespace fathom::train
