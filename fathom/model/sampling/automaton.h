// Runs a grammar byte by byte: a push-down automaton whose reachable configurations are found,
// numbered and linked while they are used.
//
// A configuration is the set of all readings of the text so far: places in the grammar, each with
// its stack of what comes after. Stacks are shared and numbered too, so equal sets are found equal,
// a step taken before is one look-up, and going back to an earlier configuration costs nothing.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/grammar.h"
#include "fathom/model/sampling/token_trie.h"

namespace fathom::sampling {

class Automaton {
 public:
  using ConfigId = std::int32_t;
  static constexpr ConfigId kDead = -1;  // no text of the grammar begins like this

  // Throws InvalidArgument for a grammar that no text satisfies or that recurs on its left.
  explicit Automaton(Grammar grammar);

  // Safe to call from several threads. Throw Unsupported for a grammar so ambiguous, or a text so
  // long, that the configurations would not stay in bounds.
  ConfigId start();
  ConfigId step(ConfigId config, std::string_view bytes);
  bool accepts(ConfigId config);
  // Sets the bits of all tokens that may come next; returns how many. `mask` must be clear.
  Index fill_mask(ConfigId config, const TokenTrie& trie, std::span<std::uint32_t> mask);

 private:
  using StateId = std::int32_t;
  using StackId = std::int32_t;
  static constexpr StackId kEmptyStack = 0;
  static constexpr std::int32_t kUnknown = -2;

  enum class StateKind : std::uint8_t { Match, Fork, Call, Repeat, Return };
  struct State {
    StateKind kind = StateKind::Return;
    std::int32_t set = 0;               // Match: which set of byte classes
    StateId entry = 0;                  // Call, Repeat: where the inner part begins
    StateId next = 0;                   // Match, Call, Repeat: what follows
    std::int32_t min = 0;               // Repeat
    std::int32_t max = 0;               // Repeat; -1: no limit
    std::vector<StateId> targets = {};  // Fork
  };
  // What to do when the inner part is done: go on at a state, or count one more of a Repeat.
  struct Frame {
    StateId state = 0;
    std::int32_t count = 0;
    StackId below = 0;
    bool operator==(const Frame&) const = default;
  };
  struct FrameHash {
    std::size_t operator()(const Frame& frame) const;
  };
  struct Item {
    StateId state = 0;
    StackId stack = 0;
    auto operator<=>(const Item&) const = default;
  };
  struct ItemsHash {
    std::size_t operator()(const std::vector<Item>& items) const;
  };
  struct Config {
    const std::vector<Item>* items = nullptr;  // Match states only, sorted; the key of config_ids_
    bool accepts = false;
  };
  struct Mask {
    std::vector<std::uint32_t> words;
    Index num_tokens = 0;
  };

  void number_bytes(const Grammar& grammar);
  StateId add_state(State state);
  std::int32_t set_of(const ByteSet& bytes);
  StateId build(const Grammar& grammar, ExprId expr_id, StateId next);
  StateId build_repeat(const Grammar& grammar, ExprId expr_id, StateId next);
  StackId push(Frame frame);
  template <typename Visit>
  void leave(StackId stack, const Visit& visit);
  void close(std::vector<Item> open, std::vector<Item>& items);
  ConfigId config_of(std::vector<Item> open);
  ConfigId step_class(ConfigId config, std::int32_t byte_class);
  std::int32_t nearby_count(const Frame& frame, Index num_bytes) const;
  StackId nearby_stack(StackId stack, Index num_bytes);
  ConfigId nearby(ConfigId config, Index num_bytes);
  Mask make_mask(ConfigId config, const TokenTrie& trie, std::size_t num_words);

  std::array<std::uint8_t, 256> class_of_byte_{};
  std::int32_t num_classes_ = 0;
  std::vector<ByteSet> sets_;  // of byte classes
  std::map<std::string, std::int32_t> set_ids_;
  std::vector<State> states_;
  std::vector<StateId> rule_entries_;

  std::mutex mutex_;  // all below
  std::vector<Frame> frames_;
  std::unordered_map<Frame, StackId, FrameHash> frame_ids_;
  std::vector<Config> configs_;
  std::vector<ConfigId> steps_;  // [configs, byte classes]
  std::unordered_map<std::vector<Item>, ConfigId, ItemsHash> config_ids_;
  std::unordered_map<ConfigId, Mask> masks_;
  std::unordered_map<StackId, StackId> nearby_stacks_;
  std::size_t num_items_ = 0;
  std::size_t work_ = 0;        // places looked at so far
  std::size_t work_limit_ = 0;  // of the call under way
  ConfigId start_ = kUnknown;
};

}  // namespace fathom::sampling
