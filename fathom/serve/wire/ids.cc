#include "fathom/serve/wire/ids.h"

#include <random>

namespace fathom::wire {

std::string new_id(std::string_view prefix) {
  static constexpr std::string_view kAlphabet =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr int kLength = 24;
  // libstdc++ reads the processor's generator or getrandom, each number anew.
  thread_local std::random_device device;
  std::uniform_int_distribution<std::size_t> pick(0, kAlphabet.size() - 1);
  std::string id(prefix);
  for (int i = 0; i < kLength; ++i) {
    id.push_back(kAlphabet[pick(device)]);
  }
  return id;
}

}  // namespace fathom::wire
