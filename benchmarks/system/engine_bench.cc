// How fast the serving engine decodes beside the bare model, and how evenly its tokens come while
// new prompts arrive.
//
// usage: engine_bench MODEL NUMERICS THREADS rate BATCH... | latency STREAMS SECONDS
//
// Rates are per second of the processor's time for the whole process as well: on a machine that is
// busy otherwise, with one thread, that is what can be compared.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fathom/serving.h"

namespace {

using namespace fathom;  // NOLINT(google-build-using-namespace): a program of one file
using platform::Clock;
using platform::seconds_since;

constexpr Index kPromptTokens = 32;
constexpr Index kReplyTokens = 256;

struct Setup {
  std::string path;
  ModelOptions model;
};

engine::GenerateRequest request_of(std::mt19937& random, Index num_prompt, Index num_reply) {
  std::vector<TokenId> prompt(to_size(num_prompt));
  std::generate(prompt.begin(), prompt.end(),
                [&] { return static_cast<TokenId>(random() % 40'000); });
  engine::GenerateRequest request;
  request.prompt = engine::TokenPrompt{std::move(prompt)};
  request.max_tokens = num_reply;
  request.ignores_end = true;
  request.has_seed = true;
  request.sampling.seed = random();
  request.cache_scope = std::to_string(random() % 1000);
  return request;
}

// Tokens per second of a batch while all of it is decoded.
struct Moment {
  Clock::time_point time = Clock::now();
  double cpu_s = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  bool operator<(const Moment& other) const { return time < other.time; }
};
struct Rate {
  double per_s = 0;
  double per_cpu_s = 0;
};
Rate rate_of(Index count, const Moment& begin, const Moment& end) {
  return {.per_s = static_cast<double>(count) /
                   std::chrono::duration<double>(end.time - begin.time).count(),
          .per_cpu_s = static_cast<double>(count) / (end.cpu_s - begin.cpu_s)};
}

Rate engine_rate(engine::LocalEngine& engine, Index batch) {
  std::mt19937 random(static_cast<unsigned>(batch));
  std::mutex mutex;
  std::vector<Moment> first;
  std::vector<Moment> all;
  std::vector<Moment> ends;
  for (Index idx = 0; idx < batch; ++idx) {
    engine.submit(
        prepare(request_of(random, kPromptTokens, kReplyTokens), engine.text(), engine.limits()),
        [&, is_first = true](engine::GenerateEvent&& event) mutable {
          const Moment now;
          const std::lock_guard lock(mutex);
          const auto* const delta = std::get_if<engine::ReplyDelta>(&event);
          if (delta != nullptr && delta->token) {
            all.push_back(now);
            if (is_first) {
              first.push_back(now);
            }
            is_first = false;
          } else if (std::holds_alternative<engine::RequestEnd>(event)) {
            ends.push_back(now);
          }
        });
  }
  engine.wait_until_idle(std::chrono::minutes(5));
  const auto begin = *std::max_element(first.begin(), first.end());
  const auto end = *std::min_element(ends.begin(), ends.end());
  const auto count = std::count_if(all.begin(), all.end(), [&](const Moment& moment) {
    return begin < moment && !(end < moment);
  });
  return rate_of(count, begin, end);
}

Rate bare_rate(Model& model, Index batch) {
  std::mt19937 random(static_cast<unsigned>(batch));
  std::vector<Session> sessions;
  std::vector<Session*> pointers;
  const auto any = [&] { return static_cast<TokenId>(random() % 40'000); };
  for (Index idx = 0; idx < batch; ++idx) {
    std::vector<TokenId> prompt(to_size(kPromptTokens));
    std::generate(prompt.begin(), prompt.end(), any);
    sessions.push_back(model.start());
    sessions.back().append(prompt);
  }
  for (Session& session : sessions) {
    pointers.push_back(&session);
  }
  std::vector<TokenId> tokens(to_size(batch));
  const Moment start;
  for (Index step = 0; step < kReplyTokens; ++step) {
    std::generate(tokens.begin(), tokens.end(), any);
    Session::append_each(pointers, tokens, [](Index, Index, const float*) {});
  }
  return rate_of(batch * kReplyTokens, start, Moment());
}

// Streams that never pause, and a prompt of 200 to 1,000 tokens every 2 seconds.
void measure_latency(engine::LocalEngine& engine, Index num_streams, double seconds) {
  std::mt19937 random(5);
  std::atomic<bool> is_over = false;
  std::mutex mutex;
  std::vector<double> gaps;
  const auto start = Clock::now();
  const auto stream = [&](Index num_prompt, Index num_reply, bool is_counted) {
    engine.submit(
        prepare(request_of(random, num_prompt, num_reply), engine.text(), engine.limits()),
        [&, is_counted, last = Clock::time_point()](engine::GenerateEvent&& event) mutable {
          if (!std::holds_alternative<engine::ReplyDelta>(event)) {
            return;
          }
          const auto now = Clock::now();
          if (is_counted && last != Clock::time_point() && seconds_since(start) > 3) {
            const std::lock_guard lock(mutex);
            gaps.push_back(std::chrono::duration<double>(now - last).count());
          }
          last = now;
        });
  };
  for (Index idx = 0; idx < num_streams; ++idx) {
    stream(kPromptTokens, 4000, true);
  }
  while (seconds_since(start) < seconds) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    stream(200 + static_cast<Index>(random() % 801), 16, true);
  }
  const std::lock_guard lock(mutex);
  std::sort(gaps.begin(), gaps.end());
  const auto at = [&](double share) {
    return 1e3 * gaps[static_cast<std::size_t>(share * static_cast<double>(gaps.size() - 1))];
  };
  std::printf(
      "%lld streams: inter-token ms median %.1f  p90 %.1f  p99 %.1f  largest %.1f  (p99 / median "
      "%.2f), %zu tokens\n",
      static_cast<long long>(num_streams), at(0.5), at(0.9), at(0.99), at(1), at(0.99) / at(0.5),
      gaps.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fprintf(
        stderr,
        "usage: engine_bench MODEL NUMERICS THREADS rate BATCH... | latency STREAMS SECONDS\n");
    return 2;
  }
  const std::string path = argv[1];
  ModelOptions model;
  model.numerics = argv[2];
  model.num_threads = std::atoi(argv[3]);
  model.max_context = 4096;
  engine::EngineOptions options;
  options.max_running = 64;
  const auto engine = open_engine(path, model, options);
  if (std::string(argv[4]) == "latency") {
    measure_latency(*engine, std::atoll(argv[5]), argc > 6 ? std::atof(argv[6]) : 20);
    return 0;
  }
  const auto bare = Model::open(path, model);
  for (int idx = 5; idx < argc; ++idx) {
    const Index batch = std::atoll(argv[idx]);
    const Rate alone = bare_rate(*bare, batch);
    const Rate served = engine_rate(*engine, batch);
    std::printf(
        "batch %lld: bare %.0f tokens/s, engine %.0f (%.0f %%); per CPU second %.0f and %.0f "
        "(%.0f %%)\n",
        static_cast<long long>(batch), alone.per_s, served.per_s, 100 * served.per_s / alone.per_s,
        alone.per_cpu_s, served.per_cpu_s, 100 * served.per_cpu_s / alone.per_cpu_s);
    std::fflush(stdout);
  }
  return 0;
}
