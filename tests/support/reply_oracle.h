// A second parser of replies, written from the text specification 2.7 by another method: it has the
// whole reply at once and searches it with find(). Slow, and for tests only.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace fathom::test {

// Control tokens inside a reply of the oracle: bytes that UTF-8 never has.
inline constexpr std::string_view kCloseByte = "\xf8";
inline constexpr std::string_view kOpenByte = "\xf9";
inline constexpr std::string_view kDsmlByte = "\xfa";

inline std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The reply with its control tokens spelled.
inline std::string spell(std::string text) {
  text = replace_all(std::move(text), kCloseByte, "</think>");
  text = replace_all(std::move(text), kOpenByte, "<think>");
  return replace_all(std::move(text), kDsmlByte, "｜DSML｜");
}

struct OracleCall {
  std::string name;
  std::string arguments;
  bool operator==(const OracleCall&) const = default;
};

struct OracleReply {
  std::string reasoning;
  std::string content;
  std::vector<OracleCall> calls;
  std::string finish;
  bool operator==(const OracleReply&) const = default;
};

class ReplyOracle {
 public:
  using Json = nlohmann::ordered_json;

  // `tools`: an array of function objects, or null for none. `has_tokens`: the think tags and
  // ｜DSML｜ are the bytes above.
  ReplyOracle(Json tools, std::vector<std::string> stops, bool has_tokens)
      : tools_(std::move(tools)),
        stops_(std::move(stops)),
        close_(has_tokens ? kCloseByte : "</think>"),
        open_(has_tokens ? kOpenByte : "<think>"),
        dsml_(has_tokens ? kDsmlByte : "｜DSML｜"),
        has_tokens_(has_tokens) {}

  OracleReply parse(std::string raw, bool starts_in_reasoning, bool ends_by_length) {
    if (tools_.is_null()) {  // then ｜DSML｜ is text, also to stop strings
      raw = replace_all(std::move(raw), kDsmlByte, "｜DSML｜");
    }
    out_ = {};
    num_complete_ = 0;
    by_length_ = ends_by_length;
    std::size_t at = 0;
    bool is_in_block = false;
    prefix_ = dsml_;
    if (starts_in_reasoning) {
      at = parse_reasoning(raw, is_in_block);
    }
    if (!is_in_block && at != std::string::npos) {
      at = parse_content(raw, at, is_in_block);
    }
    if (is_in_block) {
      parse_block(raw, at);
    }
    out_.finish = by_length_ ? "length" : num_complete_ > 0 ? "tool_calls" : "stop";
    return out_;
  }

 private:
  static constexpr std::size_t kNone = std::string::npos;
  enum class Kind { Close, Open, Stray, Block, Call };
  struct Found {
    Kind kind = Kind::Close;
    std::size_t begin = kNone;
    std::size_t end = kNone;
    std::string prefix;  // of a block
    bool is_none() const { return end == kNone; }
  };

  static std::vector<std::string> wrappers() { return {"tool_calls", "function_calls", " calls"}; }

  // Of all markers the one that ends first; the longer of two that end together.
  static void keep_first(Found& best, const Found& found) {
    if (best.is_none() || found.end < best.end ||
        (found.end == best.end && found.begin < best.begin)) {
      best = found;
    }
  }

  static void look_for(Found& best,
                       const std::string& raw,
                       std::size_t from,
                       const std::string& marker,
                       Kind kind,
                       const std::string& prefix) {
    const std::size_t begin = raw.find(marker, from);
    if (begin != kNone) {
      keep_first(best, {kind, begin, begin + marker.size(), prefix});
    }
  }

  std::vector<std::string> call_openers(const std::string& prefix) const {
    std::vector<std::string> openers;
    for (const Json& tool : tools_) {
      for (const char* space : {"", " "}) {
        openers.push_back("<" + prefix + space + "invoke name=\"" +
                          tool.at("name").get<std::string>() + "\"");
      }
    }
    return openers;
  }

  static std::size_t strip_newlines_back(const std::string& raw,
                                         std::size_t end,
                                         std::size_t least) {
    while (end > least && raw[end - 1] == '\n') {
      --end;
    }
    return end;
  }

  std::vector<std::string> other_prefixes() const {
    std::vector<std::string> prefixes = {"DSML｜", ""};
    if (has_tokens_) {
      prefixes.push_back("｜DSML｜");
    }
    return prefixes;
  }

  // Returns where content begins; with is_in_block set, where the block begins.
  std::size_t parse_reasoning(const std::string& raw, bool& is_in_block) {
    std::string text;
    std::size_t at = 0;
    std::vector<std::string> openers;
    if (!tools_.is_null()) {
      openers = call_openers(dsml_);
      for (const std::string& wrapper : wrappers()) {
        openers.push_back("<" + dsml_ + wrapper + ">");
      }
    }
    while (true) {
      skip_leading(raw, at, text);
      Found best;
      look_for(best, raw, at, close_, Kind::Close, "");
      look_for(best, raw, at, open_, Kind::Open, "");
      for (const std::string& opener : openers) {
        look_for(best, raw, at, opener, Kind::Block, dsml_);
      }
      if (best.is_none()) {
        out_.reasoning = spell(text + at_end(raw, at, openers, {}));
        return kNone;
      }
      if (best.kind == Kind::Open) {
        text += raw.substr(at, best.begin - at);
        at = best.end;
        continue;
      }
      const std::size_t end = strip_newlines_back(raw, best.begin, at);
      out_.reasoning = spell(text + raw.substr(at, end - at));
      is_in_block = best.kind == Kind::Block;
      return is_in_block ? best.begin : best.end;
    }
  }

  static void skip_leading(const std::string& raw, std::size_t& at, const std::string& text) {
    while (text.empty() && at < raw.size() && raw[at] == '\n') {
      ++at;
    }
  }

  // Where a call in another spelling really begins: at the wrapper before it, if there is one.
  static std::size_t wrapped_begin(const std::string& raw,
                                   std::size_t begin,
                                   std::size_t least,
                                   const std::string& prefix) {
    std::size_t end = begin;
    while (end > least && std::string_view(" \t\r\n").find(raw[end - 1]) != kNone) {
      --end;
    }
    for (const std::string& wrapper : wrappers()) {
      const std::string tag = "<" + prefix + wrapper + ">";
      if (end >= least + tag.size() && raw.compare(end - tag.size(), tag.size(), tag) == 0) {
        return end - tag.size();
      }
    }
    return begin;
  }

  Found next_in_content(const std::string& raw, std::size_t at) const {
    Found best;
    look_for(best, raw, at, close_, Kind::Close, "");
    look_for(best, raw, at, open_, Kind::Open, "");
    if (tools_.is_null()) {
      return best;
    }
    look_for(best, raw, at, dsml_, Kind::Stray, "");
    look_for(best, raw, at, "<" + dsml_, Kind::Block, dsml_);
    for (const std::string& prefix : other_prefixes()) {
      for (const std::string& opener : call_openers(prefix)) {
        look_for(best, raw, at, opener, Kind::Call, prefix);
      }
    }
    if (best.kind == Kind::Call) {
      best.begin = wrapped_begin(raw, best.begin, at, best.prefix);
    }
    return best;
  }

  // The begin of the stop string that comes first before a marker, or nothing.
  std::optional<std::size_t> find_stop(const std::string& raw,
                                       std::size_t at,
                                       const Found& marker) const {
    Found best;
    for (const std::string& stop : stops_) {
      for (std::size_t begin = raw.find(stop, at); begin != kNone;
           begin = raw.find(stop, begin + 1)) {
        const bool is_opener = marker.kind == Kind::Block || marker.kind == Kind::Call;
        const bool is_in_time = marker.is_none() || begin + stop.size() <= marker.end ||
                                (is_opener && begin <= marker.begin);
        if (is_in_time) {
          keep_first(best, {Kind::Close, begin, begin + stop.size(), ""});
        }
      }
    }
    return best.is_none() ? std::nullopt : std::optional(best.begin);
  }

  std::size_t parse_content(const std::string& raw, std::size_t at, bool& is_in_block) {
    std::string text;
    while (true) {
      skip_leading(raw, at, text);
      const Found marker = next_in_content(raw, at);
      if (const auto stop = find_stop(raw, at, marker)) {
        out_.content = spell(text + raw.substr(at, *stop - at));
        return kNone;
      }
      if (marker.is_none()) {
        out_.content = spell(text + content_end(raw, at));
        return kNone;
      }
      if (marker.kind != Kind::Block && marker.kind != Kind::Call) {
        text += raw.substr(at, marker.begin - at);
        at = marker.end;
        continue;
      }
      const std::size_t end = strip_newlines_back(raw, marker.begin, at);
      out_.content = spell(text + raw.substr(at, end - at));
      is_in_block = true;
      prefix_ = marker.prefix;
      return marker.begin;
    }
  }

  std::string content_end(const std::string& raw, std::size_t at) const {
    std::vector<std::string> openers;
    std::vector<std::string> prefixes;
    if (!tools_.is_null()) {
      openers = {dsml_, "<" + dsml_};
      prefixes = other_prefixes();
    }
    return at_end(raw, at, openers, prefixes);
  }

  static bool is_begin_of(std::string_view text, const std::string& whole) {
    return text.size() < whole.size() && std::string_view(whole).starts_with(text);
  }

  // Whether text might go on to become a marker: one of `openers`, a think tag, or a block in one
  // of the other spellings.
  bool is_held(std::string_view text,
               const std::vector<std::string>& openers,
               const std::vector<std::string>& prefixes) const {
    const auto may_become = [&](const std::string& whole) { return is_begin_of(text, whole); };
    if (may_become(close_) || may_become(open_) ||
        std::any_of(openers.begin(), openers.end(), may_become)) {
      return true;
    }
    for (const std::string& prefix : prefixes) {
      std::vector<std::string> calls = call_openers(prefix);
      if (std::any_of(calls.begin(), calls.end(), may_become)) {
        return true;
      }
      for (const std::string& wrapper : wrappers()) {
        const std::string tag = "<" + prefix + wrapper + ">";
        if (may_become(tag)) {
          return true;
        }
        if (!text.starts_with(tag)) {
          continue;
        }
        std::string_view rest = text.substr(tag.size());
        rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
        // What comes next may be any marker, which then decides what the wrapper was.
        const bool is_any = is_held(rest, openers, {}) ||
                            std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& other) {
                              std::vector<std::string> tags = call_openers(other);
                              for (const std::string& name : wrappers()) {
                                tags.push_back("<" + other + name + ">");
                              }
                              return std::any_of(tags.begin(), tags.end(), [&](const auto& whole) {
                                return is_begin_of(rest, whole);
                              });
                            });
        if (rest.empty() || is_any) {
          return true;
        }
      }
    }
    return false;
  }

  // P1: the rest of a text without markers, less a tag that the end cut short.
  std::string at_end(const std::string& raw,
                     std::size_t at,
                     const std::vector<std::string>& openers,
                     const std::vector<std::string>& prefixes) const {
    for (std::size_t begin = at; begin < raw.size(); ++begin) {
      const std::string_view rest = std::string_view(raw).substr(begin);
      if (raw[begin] == '\n' || !is_held(rest, openers, prefixes)) {
        continue;
      }
      const std::string text = spell(std::string(rest));
      for (const char* cut : {"<｜DSML｜", "<DSML｜", "<tool_calls>", "<invoke name=\""}) {
        if (text.starts_with(cut) && !tools_.is_null()) {
          return raw.substr(at, strip_newlines_back(raw, begin, at) - at);
        }
      }
      break;
    }
    return raw.substr(at);
  }

  struct Parameter {
    std::string key;
    bool is_string = true;
    std::string value;
    bool is_complete = false;
  };

  static Found first_of(const std::string& raw,
                        std::size_t at,
                        const std::vector<std::string>& markers,
                        std::size_t& which) {
    Found best;
    for (std::size_t i = 0; i < markers.size(); ++i) {
      const Found old = best;
      look_for(best, raw, at, markers[i], Kind::Block, "");
      which = best.end != old.end || best.begin != old.begin ? i : which;
    }
    return best;
  }

  std::string closer(const char* name) const {
    return "</" + prefix_ + (prefix_.empty() ? std::string(name) + ">" : "");
  }

  // Deletes until there is none: deleting one may join another.
  static std::string without(std::string text, const std::vector<std::string>& tags) {
    for (bool has_changed = true; has_changed;) {
      has_changed = false;
      std::size_t first_end = kNone;
      for (const std::string& tag : tags) {
        const std::size_t at = text.find(tag);
        first_end = at == kNone ? first_end : std::min(first_end, at + tag.size());
      }
      for (const std::string& tag : tags) {
        const std::size_t at = text.find(tag);
        if (at != kNone && at + tag.size() == first_end && !has_changed) {
          text.erase(at, tag.size());
          has_changed = true;
        }
      }
    }
    return text;
  }

  static std::string without_dsml(const std::string& text) {
    return without(spell(text), {"｜DSML｜"});
  }

  // `at`: where the opening tag begins.
  void parse_block(const std::string& raw, std::size_t at) {
    const std::size_t begin = at;
    bool is_ended = false;
    if (!prefix_.empty() && prefix_ == dsml_) {
      at += 1 + dsml_.size();
    }
    std::vector<std::string> tags = {"invoke name=\""};
    for (const std::string& wrapper : wrappers()) {
      tags.push_back("</" + prefix_ + wrapper + ">");
    }
    while (true) {
      std::size_t which = 0;
      const Found tag = first_of(raw, at, tags, which);
      if (tag.is_none() || which > 0) {
        is_ended = !tag.is_none();
        at = is_ended ? tag.end : raw.size();
        break;
      }
      at = parse_call(raw, tag.end);
      if (at == kNone) {
        break;
      }
    }
    if (out_.calls.empty() && (is_ended || !by_length_)) {
      at = at == kNone ? raw.size() : at;
      std::string text = raw.substr(begin, at - begin);
      if (has_tokens_) {
        text = replace_all(replace_all(std::move(text), close_, ""), open_, "");
        out_.content += without_dsml(text);
      } else {
        out_.content += without(std::move(text), {dsml_, close_, open_});
      }
    }
  }

  // Returns the position after the call, or nothing if the reply ends in it.
  std::size_t parse_call(const std::string& raw, std::size_t at) {
    while (true) {
      const std::size_t quote = raw.find('"', at);
      if (quote == kNone) {
        return kNone;
      }
      const std::string name = without_dsml(raw.substr(at, quote - at));
      at = quote + 1;
      std::vector<Parameter> parameters;
      std::size_t which = 0;
      while (true) {
        const Found tag =
            first_of(raw, at, {"parameter name=\"", "invoke name=\"", closer("invoke")}, which);
        if (tag.is_none()) {
          return finish_call(name, parameters, !by_length_);
        }
        at = tag.end;
        if (which > 0) {
          break;
        }
        if (!parse_parameter(raw, at, parameters)) {
          return finish_call(name, parameters, !by_length_);
        }
      }
      finish_call(name, parameters, true);
      if (which == 2) {
        return at;
      }
    }
  }

  bool parse_parameter(const std::string& raw,
                       std::size_t& at,
                       std::vector<Parameter>& parameters) const {
    const std::size_t quote = raw.find('"', at);
    const std::size_t bracket = quote == kNone ? kNone : raw.find('>', quote + 1);
    if (bracket == kNone) {
      return false;
    }
    const std::string attributes = raw.substr(quote + 1, bracket - quote);
    Parameter parameter{without_dsml(raw.substr(at, quote - at)), !attributes.ends_with("false\">"),
                        "", true};
    const std::string close = closer("parameter");
    const std::size_t end = raw.find(close, bracket + 1);
    std::string value = raw.substr(bracket + 1, end == kNone ? kNone : end - bracket - 1);
    if (end == kNone) {
      parameter.is_complete = false;
      std::size_t num_held = std::min(close.size() - 1, value.size());
      while (!close.starts_with(value.substr(value.size() - num_held))) {
        --num_held;
      }
      value.resize(value.size() - num_held);
    }
    parameter.value = spell(value);
    at = end == kNone ? raw.size() : end + close.size();
    const bool is_repeated = std::any_of(parameters.begin(), parameters.end(),
                                         [&](const auto& old) { return old.key == parameter.key; });
    if (!is_repeated) {
      parameters.push_back(parameter);
    }
    return end != kNone;
  }

  const Json* find_tool(const std::string& name) const {
    for (const Json& tool : tools_) {
      if (tool.at("name") == name) {
        return &tool;
      }
    }
    return nullptr;
  }

  static Json properties_of(const Json* tool) {
    return tool == nullptr ? Json::object()
                           : tool->value("/parameters/properties"_json_pointer, Json::object());
  }

  // The type names of a property; empty if not said.
  static std::vector<std::string> types_of(const Json& properties, const std::string& key) {
    if (!properties.contains(key) || !properties[key].contains("type")) {
      return {};
    }
    const Json& type = properties[key]["type"];
    return type.is_array() ? type.get<std::vector<std::string>>()
                           : std::vector<std::string>{type.get<std::string>()};
  }

  static bool has_type(const Json& value, const std::string& type) {
    return (type == "integer" && value.is_number_integer()) ||
           (type == "number" && value.is_number()) || (type == "boolean" && value.is_boolean()) ||
           (type == "array" && value.is_array()) || (type == "object" && value.is_object()) ||
           (type == "null" && value.is_null());
  }

  static std::string trimmed(const std::string& text) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    return begin == kNone ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
  }

  static std::string value_of(const Parameter& parameter, const Json& properties) {
    const std::vector<std::string> types = types_of(properties, parameter.key);
    const Json value = Json::parse(parameter.value, nullptr, false);
    bool is_json = !parameter.is_string;
    for (const std::string& type : types) {
      is_json = is_json || has_type(value, type);
    }
    const bool may_be_string = std::find(types.begin(), types.end(), "string") != types.end();
    if (parameter.is_string && may_be_string) {
      is_json = false;
    }
    return is_json && !value.is_discarded() ? trimmed(parameter.value)
                                            : Json(parameter.value).dump();
  }

  static std::optional<std::string> unwrapped(const Parameter& parameter, const Json& properties) {
    Json value = Json::parse(parameter.value, nullptr, false);
    std::string text = trimmed(parameter.value);
    if (value.is_string() && !parameter.is_string) {
      text = trimmed(value.get<std::string>());
      value = Json::parse(text, nullptr, false);
    }
    if (!value.is_object()) {
      return std::nullopt;
    }
    for (const auto& [key, unused] : value.items()) {
      if (!properties.contains(key)) {
        return std::nullopt;
      }
    }
    return text;
  }

  std::size_t finish_call(const std::string& name,
                          const std::vector<Parameter>& parameters,
                          bool is_closed) {
    const Json* tool = find_tool(name);
    const Json properties = properties_of(tool);
    const bool may_wrap = !parameters.empty() && tool != nullptr &&
                          (parameters[0].key == "arguments" || parameters[0].key == "input") &&
                          !properties.contains(parameters[0].key);
    std::string json;
    if (may_wrap && parameters.size() == 1) {
      const auto object = unwrapped(parameters[0], properties);
      if (!is_closed || object) {
        num_complete_ += is_closed ? 1 : 0;
        out_.calls.push_back({name, is_closed ? *object : ""});
        return kNone;
      }
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& parameter = parameters[i];
      json += (i == 0 ? "{" : ", ") + Json(parameter.key).dump() + ": ";
      if (parameter.is_complete || is_closed) {
        json += value_of(parameter, properties);
        continue;
      }
      const std::vector<std::string> types = types_of(properties, parameter.key);
      const bool may_be_string =
          types.empty() || std::find(types.begin(), types.end(), "string") != types.end();
      if (parameter.is_string && may_be_string) {
        const std::string text =
            Json(parameter.value).dump(-1, ' ', false, Json::error_handler_t::ignore);
        json += text.substr(0, text.size() - 1);  // streamed, without the closing quote
      }
    }
    json += !is_closed ? "" : parameters.empty() ? "{}" : "}";
    num_complete_ += is_closed ? 1 : 0;
    out_.calls.push_back({name, json});
    return kNone;
  }

  Json tools_;
  std::vector<std::string> stops_;
  std::string close_;
  std::string open_;
  std::string dsml_;
  bool has_tokens_;
  bool by_length_ = false;
  std::string prefix_;  // of the block
  OracleReply out_;
  int num_complete_ = 0;
};

}  // namespace fathom::test
