#include "fathom/model/sampling/automaton.h"

#include <algorithm>
#include <bit>
#include <set>
#include <unordered_set>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

constexpr std::size_t kMaxStates = std::size_t{1} << 21;
constexpr std::size_t kMaxReadings = 20'000;  // parallel readings of one text
constexpr std::size_t kMaxConfigs = std::size_t{1} << 20;
constexpr std::size_t kMaxFrames = std::size_t{1} << 23;
constexpr std::size_t kMaxItems = std::size_t{1} << 25;  // of all configurations together
constexpr std::size_t kMaxWork = 10'000'000;             // places looked at in one call: seconds
constexpr std::size_t kMaxMasks = 512;                   // 8 MB with 129,280 tokens

std::size_t mix(std::size_t hash, std::int32_t value) {
  hash ^= static_cast<std::uint32_t>(value);
  hash *= 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 29);
}

[[noreturn]] void fail_too_ambiguous() {
  fail(ErrorCode::Unsupported,
       "grammar: too many ways to read one text; make its alternatives begin differently");
}

}  // namespace

std::size_t Automaton::FrameHash::operator()(const Frame& frame) const {
  return mix(mix(mix(1, frame.state), frame.count), frame.below);
}

std::size_t Automaton::ItemsHash::operator()(const std::vector<Item>& items) const {
  std::size_t hash = items.size();
  for (const Item& item : items) {
    hash = mix(mix(hash, item.state), item.stack);
  }
  return hash;
}

Automaton::Automaton(Grammar grammar) {
  if (!prune(grammar)) {
    fail(ErrorCode::InvalidArgument, "grammar: no text satisfies it");
  }
  refuse_left_recursion(grammar);
  number_bytes(grammar);
  add_state({.kind = StateKind::Return});
  // Rules call each other: all get their entry first.
  for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
    rule_entries_.push_back(add_state({.kind = StateKind::Fork}));
  }
  for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
    const StateId entry = build(grammar, grammar.rules[rule].expr, 0);
    states_[static_cast<std::size_t>(rule_entries_[rule])].targets = {entry};
  }
  frames_.push_back({});  // the empty stack
  work_limit_ = kMaxWork;
  start_ = config_of({{rule_entries_[static_cast<std::size_t>(grammar.root)], kEmptyStack}});
}

// Bytes that no set tells apart share a class.
void Automaton::number_bytes(const Grammar& grammar) {
  std::set<std::string> distinct;
  for (const Grammar::Expr& expr : grammar.exprs) {
    if (expr.kind == Grammar::Kind::Byte) {
      distinct.insert(expr.bytes.to_string());
    }
  }
  num_classes_ = 1;
  for (const std::string& text : distinct) {
    const ByteSet bytes(text);
    // A class splits where the set holds some of its bytes only.
    std::map<std::pair<std::uint8_t, bool>, std::uint8_t> renamed;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto fresh = static_cast<std::uint8_t>(renamed.size());
      class_of_byte_[byte] =
          renamed.try_emplace({class_of_byte_[byte], bytes.test(byte)}, fresh).first->second;
    }
    num_classes_ = static_cast<std::int32_t>(renamed.size());
  }
}

Automaton::StateId Automaton::add_state(State state) {
  if (states_.size() >= kMaxStates) {
    fail(ErrorCode::InvalidArgument, "grammar: more than ", kMaxStates,
         " states; shorten enumerations and fixed texts");
  }
  states_.push_back(std::move(state));
  return static_cast<StateId>(states_.size() - 1);
}

std::int32_t Automaton::set_of(const ByteSet& bytes) {
  const auto [set, is_first] =
      set_ids_.try_emplace(bytes.to_string(), static_cast<std::int32_t>(sets_.size()));
  if (is_first) {
    sets_.emplace_back();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      sets_.back().set(class_of_byte_[byte], bytes.test(byte));
    }
  }
  return set->second;
}

Automaton::StateId Automaton::build(const Grammar& grammar, ExprId expr_id, StateId next) {
  const Grammar::Expr& expr = grammar.exprs[static_cast<std::size_t>(expr_id)];
  switch (expr.kind) {
    case Grammar::Kind::Byte:
      return add_state(
          {.kind = StateKind::Match, .set = set_of(expr.bytes), .next = next, .targets = {}});
    case Grammar::Kind::Sequence:
      for (auto part = expr.parts.rbegin(); part != expr.parts.rend(); ++part) {
        next = build(grammar, *part, next);
      }
      return next;
    case Grammar::Kind::Choice: {
      std::vector<StateId> targets;
      for (const ExprId part : expr.parts) {
        targets.push_back(build(grammar, part, next));
      }
      return add_state({.kind = StateKind::Fork, .targets = std::move(targets)});
    }
    case Grammar::Kind::Repeat:
      return build_repeat(grammar, expr_id, next);
    case Grammar::Kind::Rule: {
      const StateId entry = rule_entries_[static_cast<std::size_t>(expr.rule)];
      // A call with nothing after it needs no way back: recursion at the end uses no stack.
      return next == 0
                 ? entry
                 : add_state(
                       {.kind = StateKind::Call, .entry = entry, .next = next, .targets = {}});
    }
  }
  return next;
}

Automaton::StateId Automaton::build_repeat(const Grammar& grammar, ExprId expr_id, StateId next) {
  const Grammar::Expr& expr = grammar.exprs[static_cast<std::size_t>(expr_id)];
  if (expr.min == 0 && expr.max == 1) {
    const StateId once = build(grammar, expr.parts[0], next);
    return add_state({.kind = StateKind::Fork, .targets = {once, next}});
  }
  if (expr.max == Grammar::kNoLimit && expr.min <= 1) {
    const StateId loop = add_state({.kind = StateKind::Fork});
    const StateId body = build(grammar, expr.parts[0], loop);
    states_[static_cast<std::size_t>(loop)].targets = {body, next};
    return expr.min == 0 ? loop : body;
  }
  return add_state({.kind = StateKind::Repeat,
                    .entry = build(grammar, expr.parts[0], 0),
                    .next = next,
                    .min = static_cast<std::int32_t>(expr.min),
                    .max = static_cast<std::int32_t>(expr.max)});
}

Automaton::StackId Automaton::push(Frame frame) {
  const auto [found, is_first] =
      frame_ids_.try_emplace(frame, static_cast<StackId>(frames_.size()));
  if (is_first) {
    if (frames_.size() >= kMaxFrames) {
      frame_ids_.erase(found);
      fail(ErrorCode::Unsupported, "grammar: the text nests and counts beyond what can be kept");
    }
    frames_.push_back(frame);
  }
  return found->second;
}

// Goes back to where the topmost frame of `stack` came from, or round again in a repetition.
template <typename Visit>
void Automaton::leave(StackId stack, const Visit& visit) {
  const Frame frame = frames_[static_cast<std::size_t>(stack)];
  const State& caller = states_[static_cast<std::size_t>(frame.state)];
  if (caller.kind != StateKind::Repeat || frame.count == 0) {
    visit(frame.state, frame.below);
    return;
  }
  if (frame.count >= caller.min) {
    visit(caller.next, frame.below);
  }
  if (caller.max < 0 || frame.count < caller.max) {
    // Without a limit, counting ends where it no longer matters: configurations stay finite.
    const std::int32_t count =
        caller.max < 0 ? std::min(frame.count + 1, std::max(caller.min, 1)) : frame.count + 1;
    visit(caller.entry, push({.state = frame.state, .count = count, .below = frame.below}));
  }
}

// Follows everything that needs no byte. `items` gets the Match states that are reached, and a
// Return with the empty stack where the text may end.
void Automaton::close(std::vector<Item> open, std::vector<Item>& items) {
  std::set<Item> seen(open.begin(), open.end());
  const auto visit = [&](StateId state, StackId stack) {
    if (seen.insert({state, stack}).second) {
      if (seen.size() > kMaxReadings || ++work_ > work_limit_) {
        fail_too_ambiguous();
      }
      open.push_back({state, stack});
    }
  };
  while (!open.empty()) {
    const Item item = open.back();
    open.pop_back();
    const State& state = states_[static_cast<std::size_t>(item.state)];
    switch (state.kind) {
      case StateKind::Match:
        items.push_back(item);
        break;
      case StateKind::Fork:
        for (const StateId target : state.targets) {
          visit(target, item.stack);
        }
        break;
      case StateKind::Call:
        visit(state.entry, push({.state = state.next, .count = 0, .below = item.stack}));
        break;
      case StateKind::Repeat:
        if (state.min == 0) {
          visit(state.next, item.stack);
        }
        visit(state.entry, push({.state = item.state, .count = 1, .below = item.stack}));
        break;
      case StateKind::Return:
        if (item.stack == kEmptyStack) {
          items.push_back(item);
        } else {
          leave(item.stack, visit);
        }
        break;
    }
  }
}

Automaton::ConfigId Automaton::config_of(std::vector<Item> open) {
  std::vector<Item> items;
  close(std::move(open), items);
  if (items.empty()) {
    return kDead;
  }
  std::sort(items.begin(), items.end());
  const bool accepts = items.front() == Item{0, kEmptyStack};
  const auto [found, is_first] =
      config_ids_.try_emplace(std::move(items), static_cast<ConfigId>(configs_.size()));
  if (is_first) {
    num_items_ += found->first.size();
    if (configs_.size() >= kMaxConfigs || num_items_ > kMaxItems) {
      config_ids_.erase(found);
      fail(ErrorCode::Unsupported, "grammar: the text runs through more places than can be kept");
    }
    configs_.push_back({.items = &found->first, .accepts = accepts});
    steps_.resize(steps_.size() + static_cast<std::size_t>(num_classes_), kUnknown);
  }
  return found->second;
}

Automaton::ConfigId Automaton::step_class(ConfigId config, std::int32_t byte_class) {
  const std::size_t step_idx =
      static_cast<std::size_t>(config) * static_cast<std::size_t>(num_classes_) +
      static_cast<std::size_t>(byte_class);
  const ConfigId known = steps_[step_idx];
  if (known != kUnknown) {
    return known;
  }
  std::vector<Item> open;
  for (const Item& item : *configs_[static_cast<std::size_t>(config)].items) {
    const State& state = states_[static_cast<std::size_t>(item.state)];
    if (state.kind == StateKind::Match &&
        sets_[static_cast<std::size_t>(state.set)].test(static_cast<std::size_t>(byte_class))) {
      open.push_back({state.next, item.stack});
    }
  }
  const ConfigId to = open.empty() ? kDead : config_of(std::move(open));
  steps_[step_idx] = to;
  return to;
}

Automaton::ConfigId Automaton::start() {
  return start_;
}

Automaton::ConfigId Automaton::step(ConfigId config, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  work_limit_ = work_ + kMaxWork;
  for (const char byte : bytes) {
    if (config == kDead) {
      break;
    }
    config = step_class(config, class_of_byte_[static_cast<unsigned char>(byte)]);
  }
  return config;
}

bool Automaton::accepts(ConfigId config) {
  const std::lock_guard lock(mutex_);
  return config != kDead && configs_[static_cast<std::size_t>(config)].accepts;
}

// A count that nothing of `num_bytes` bytes can tell from this one: both limits are out of reach.
// Rounds that take no byte change nothing: they lead to the end from both counts alike.
std::int32_t Automaton::nearby_count(const Frame& frame, Index num_bytes) const {
  const State& repeat = states_[static_cast<std::size_t>(frame.state)];
  if (repeat.kind != StateKind::Repeat || frame.count == 0) {
    return frame.count;
  }
  const auto is_far_from = [&](std::int32_t count, std::int32_t limit) {
    return limit - count > num_bytes;
  };
  const auto first_complete = std::max(repeat.min, 1);
  const bool is_max_far = repeat.max < 0 || is_far_from(frame.count, repeat.max);
  if (is_max_far && frame.count >= repeat.min) {
    return first_complete;
  }
  return is_max_far && is_far_from(frame.count, repeat.min) ? 1 : frame.count;
}

Automaton::StackId Automaton::nearby_stack(StackId stack, Index num_bytes) {
  // From the top down to what is known, then back: stacks may be deep.
  std::vector<StackId> path;
  while (stack != kEmptyStack && !nearby_stacks_.contains(stack)) {
    path.push_back(stack);
    stack = frames_[static_cast<std::size_t>(stack)].below;
  }
  StackId below = stack == kEmptyStack ? kEmptyStack : nearby_stacks_.at(stack);
  for (auto place = path.rbegin(); place != path.rend(); ++place) {
    Frame frame = frames_[static_cast<std::size_t>(*place)];
    frame.count = nearby_count(frame, num_bytes);
    frame.below = below;
    below = push(frame);
    nearby_stacks_.emplace(*place, below);
  }
  return below;
}

// A configuration that goes on like this one for `num_bytes` bytes: texts that differ only in far
// counts share their masks.
Automaton::ConfigId Automaton::nearby(ConfigId config, Index num_bytes) {
  std::vector<Item> items = *configs_[static_cast<std::size_t>(config)].items;
  for (Item& item : items) {
    item.stack = nearby_stack(item.stack, num_bytes);
  }
  return config_of(std::move(items));
}

Automaton::Mask Automaton::make_mask(ConfigId config,
                                     const TokenTrie& trie,
                                     std::size_t num_words) {
  Mask mask{.words = std::vector<std::uint32_t>(num_words, 0), .num_tokens = 0};
  std::vector<ConfigId> path(to_size(trie.max_depth()) + 1, kDead);  // per depth
  path[0] = config;
  const auto nodes = trie.nodes();
  for (std::size_t node_idx = 0; node_idx < nodes.size();) {
    const TokenTrie::Node& node = nodes[node_idx];
    const ConfigId to = step_class(path[node.depth - std::size_t{1}], class_of_byte_[node.byte]);
    if (to == kDead) {
      node_idx = static_cast<std::size_t>(node.end);
      continue;
    }
    path[node.depth] = to;
    for (const TokenId id : trie.tokens_at(to_index(node_idx))) {
      mask.words[static_cast<std::size_t>(id) / 32] |= std::uint32_t{1} << (id % 32);
      ++mask.num_tokens;
    }
    ++node_idx;
  }
  return mask;
}

Index Automaton::fill_mask(ConfigId config, const TokenTrie& trie, std::span<std::uint32_t> mask) {
  if (config == kDead) {
    return 0;
  }
  const std::lock_guard lock(mutex_);
  work_limit_ = work_ + kMaxWork;
  config = nearby(config, trie.max_depth());
  auto found = masks_.find(config);
  if (found == masks_.end()) {
    Mask made = make_mask(config, trie, mask.size());
    if (masks_.size() >= kMaxMasks) {
      masks_.clear();
    }
    found = masks_.emplace(config, std::move(made)).first;
  }
  std::copy(found->second.words.begin(), found->second.words.end(), mask.begin());
  return found->second.num_tokens;
}

}  // namespace fathom::sampling
