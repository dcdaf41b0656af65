// Typed access to GGUF metadata.
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

[[noreturn]] void wrong_type(const std::string& file,
                             std::string_view key,
                             std::string_view expected) {
  fail(ErrorCode::InvalidCheckpoint, file, ": metadata key ", quote(key), ", expected ", expected);
}

constexpr double kTwoTo63 = 9223372036854775808.0;

std::optional<std::int64_t> to_integer(std::int64_t value) {
  return value;
}
std::optional<std::int64_t> to_integer(std::uint64_t value) {
  return value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
             ? std::nullopt
             : std::optional(static_cast<std::int64_t>(value));
}
std::optional<std::int64_t> to_integer(double value) {
  // A NaN fails the first comparison.
  return value >= -kTwoTo63 && value < kTwoTo63 && std::trunc(value) == value
             ? std::optional(static_cast<std::int64_t>(value))
             : std::nullopt;
}

// What std::visit is given: numbers are converted by `convert`, everything else gives nothing.
template <typename Result, typename Convert>
struct NumberVisitor {
  const Convert& convert;
  std::optional<Result> operator()(std::int64_t value) const { return convert(value); }
  std::optional<Result> operator()(std::uint64_t value) const { return convert(value); }
  std::optional<Result> operator()(double value) const { return convert(value); }
  std::optional<Result> operator()(bool) const { return std::nullopt; }
  template <typename Other>
  std::optional<Result> operator()(const Other&) const {
    return std::nullopt;
  }
};

template <typename Result, typename Convert>
// NOLINTNEXTLINE(readability-function-size): std::visit and if constexpr are two of its levels
std::optional<std::vector<Result>> convert_array(const GgufValue& value, const Convert& convert) {
  const auto* array = std::get_if<GgufArray>(&value);
  if (array == nullptr) {
    return std::nullopt;
  }
  return std::visit(
      [&](const auto& items) -> std::optional<std::vector<Result>> {
        using Item = typename std::decay_t<decltype(items)>::value_type;
        if constexpr (std::is_same_v<Item, bool> || std::is_same_v<Item, std::string>) {
          return std::nullopt;
        } else {
          std::vector<Result> result;
          result.reserve(items.size());
          for (const Item item : items) {
            const std::optional<Result> converted = convert(item);
            if (!converted) {
              return std::nullopt;
            }
            result.push_back(*converted);
          }
          return result;
        }
      },
      *array);
}

constexpr auto kToInteger = [](auto value) { return to_integer(value); };
constexpr auto kToNumber = [](auto value) {
  return std::optional<double>(static_cast<double>(value));
};

// The value of the key as `read` gives it; nothing without the key; throws when `read` has none.
template <typename Read>
auto find_value(const GgufHeader& header,
                std::string_view key,
                const std::string& file,
                std::string_view expected,
                const Read& read) -> decltype(read(std::declval<const GgufValue&>())) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) {
    return std::nullopt;
  }
  auto result = read(found->second);
  if (!result) {
    wrong_type(file, key, expected);
  }
  return result;
}

template <typename Value>
std::optional<Value> exactly(const GgufValue& value) {
  const auto* held = std::get_if<Value>(&value);
  return held == nullptr ? std::nullopt : std::optional(*held);
}

}  // namespace

std::optional<std::int64_t> GgufHeader::find_integer(std::string_view key,
                                                     const std::string& file) const {
  return find_value(*this, key, file, "an integer", [](const GgufValue& value) {
    return std::visit(NumberVisitor<std::int64_t, decltype(kToInteger)>{kToInteger}, value);
  });
}

std::optional<double> GgufHeader::find_number(std::string_view key, const std::string& file) const {
  return find_value(*this, key, file, "a number", [](const GgufValue& value) {
    return std::visit(NumberVisitor<double, decltype(kToNumber)>{kToNumber}, value);
  });
}

std::optional<bool> GgufHeader::find_bool(std::string_view key, const std::string& file) const {
  return find_value(*this, key, file, "a bool", exactly<bool>);
}

std::optional<std::string> GgufHeader::find_string(std::string_view key,
                                                   const std::string& file) const {
  return find_value(*this, key, file, "a string", exactly<std::string>);
}

std::optional<std::vector<std::int64_t>> GgufHeader::find_integers(std::string_view key,
                                                                   const std::string& file) const {
  return find_value(*this, key, file, "an array of integers", [](const GgufValue& value) {
    return convert_array<std::int64_t>(value, kToInteger);
  });
}

std::optional<std::vector<double>> GgufHeader::find_numbers(std::string_view key,
                                                            const std::string& file) const {
  return find_value(*this, key, file, "an array of numbers",
                    [](const GgufValue& value) { return convert_array<double>(value, kToNumber); });
}

}  // namespace fathom::formats
