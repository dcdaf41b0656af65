#include "fathom/serve/wire/metrics.h"

#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

std::map<std::string, double> samples_of(const std::string& text) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.front() != '#') {
      const std::size_t end = line.rfind(' ');
      EXPECT_TRUE(samples.emplace(line.substr(0, end), std::stod(line.substr(end))).second) << line;
    }
  }
  return samples;
}

TEST(Metrics, EverySampleCarriesItsModel) {
  engine::EngineStats stats;
  stats.num_waiting = 3;
  stats.cached_tokens_disk = 7;
  const auto samples = samples_of(metrics_text({{"a", stats}, {"b\"\n", {}}}));
  EXPECT_EQ(samples.at("fathom_requests_waiting{model=\"a\"}"), 3);
  EXPECT_EQ(samples.at("fathom_requests_waiting{model=\"b\\\"\\n\"}"), 0);
  EXPECT_EQ(samples.at("fathom_cached_tokens_total{model=\"a\",kind=\"disk\"}"), 7);
}

TEST(Metrics, HistogramsCountWhatIsAtMostEachBound) {
  engine::EngineStats stats;
  for (const double seconds : {0.001, 0.003, 0.003, 1000.0}) {
    stats.inter_token.add(seconds);
  }
  const auto samples = samples_of(metrics_text({{"a", stats}}));
  const std::string name = "fathom_inter_token_seconds";
  EXPECT_EQ(samples.at(name + "_bucket{model=\"a\",le=\"0.001\"}"), 1);
  EXPECT_EQ(samples.at(name + "_bucket{model=\"a\",le=\"0.005\"}"), 3);
  EXPECT_EQ(samples.at(name + "_bucket{model=\"a\",le=\"300\"}"), 3);
  EXPECT_EQ(samples.at(name + "_bucket{model=\"a\",le=\"+Inf\"}"), 4);
  EXPECT_EQ(samples.at(name + "_count{model=\"a\"}"), 4);
  EXPECT_NEAR(samples.at(name + "_sum{model=\"a\"}"), 1000.007, 1e-9);
}

TEST(Metrics, EveryNameIsDescribedOnce) {
  std::istringstream lines(metrics_text({{"a", {}}}));
  std::set<std::string> described;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_TRUE(described.insert(line.substr(7, line.find(' ', 7) - 7)).second) << line;
    } else if (line.front() != '#') {
      std::string name = line.substr(0, line.find('{'));
      for (const char* const suffix : {"_bucket", "_sum", "_count"}) {
        const std::string end = suffix;
        if (name.size() > end.size() && name.substr(name.size() - end.size()) == end) {
          name.resize(name.size() - end.size());
        }
      }
      EXPECT_TRUE(described.count(name) > 0) << line;
    }
  }
}

}  // namespace
}  // namespace fathom::wire
