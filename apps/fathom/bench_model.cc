#include "apps/fathom/bench_model.h"

#include <algorithm>
#include <set>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/model/config/footprint.h"

namespace fathom::app {
namespace {

using platform::Clock;
using platform::seconds_since;

constexpr Index kProbeIterations = Index{1} << 20;
constexpr Index kCountedSteps = 8;
constexpr Index kWarmUpTokens = 512;
// A longer decode run pauses, so that no part of it is far from a measured limit.
constexpr double kLongestPartSeconds = 4;

std::vector<TokenId> draw_tokens(std::mt19937& random, Index vocab_size, Index count) {
  std::uniform_int_distribution<TokenId> any(0, static_cast<TokenId>(vocab_size - 1));
  std::vector<TokenId> tokens(to_size(count));
  std::generate(tokens.begin(), tokens.end(), [&] { return any(random); });
  return tokens;
}

// Copies of the beginnings, of which there are `batch` or one for all.
std::vector<Session> fork_batch(const std::vector<Session>& beginnings, Index batch) {
  std::vector<Session> sessions;
  for (Index idx = 0; idx < batch; ++idx) {
    sessions.push_back(beginnings[beginnings.size() == 1 ? 0 : to_size(idx)].fork());
  }
  return sessions;
}

Index num_beginnings(Beginnings beginnings, Index batch) {
  return beginnings == Beginnings::Apart ? batch : 1;
}

std::vector<Session*> pointers_to(std::vector<Session>& sessions) {
  std::vector<Session*> pointers;
  for (Session& session : sessions) {
    pointers.push_back(&session);
  }
  return pointers;
}

// The next token of every session.
void append_next(std::vector<Session>& sessions, std::span<const TokenId> tokens) {
  if (sessions.size() == 1) {
    sessions.front().append(tokens);
  } else {
    Session::append_each(pointers_to(sessions), tokens, [](Index, Index, const float*) {});
  }
}

void keep_larger(std::optional<Index>& largest, std::optional<Index> value) {
  if (value) {
    largest = std::max(largest.value_or(0), *value);
  }
}

// The storage of each role, its blocks' tensors together.
std::vector<ModelCosts::RoleStorage> storage_of_roles(const OpenedModel& opened) {
  using Role = std::pair<config::Block, config::WeightRole>;
  std::map<Role, std::map<numeric::WeightFormat, Index>> bytes;
  for (const config::WeightSpec& spec : config::weight_table(opened.config.model)) {
    if (spec.storage != config::StorageClass::TokenIds && opened.store->has(spec.key)) {
      bytes[{spec.key.block, spec.key.role}][opened.store->matrix(spec.key).view.format] +=
          opened.store->stored_bytes(spec.key);
    }
  }
  std::vector<ModelCosts::RoleStorage> storage;
  for (const auto& [role, formats] : bytes) {
    const auto most =
        std::max_element(formats.begin(), formats.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    Index total = 0;
    for (const auto& [format, num_bytes] : formats) {
      total += num_bytes;
    }
    storage.push_back({role.first, role.second, most->first, total});
  }
  return storage;
}

std::optional<double> rate_of(const std::optional<runtime::PeakRate>& peak) {
  return peak ? std::optional(peak->operations_per_s) : std::nullopt;
}

}  // namespace

ModelCosts::ModelCosts(const OpenedModel& opened)
    : config_(opened.config.model), storage_(storage_of_roles(opened)) {
  for (const config::WeightSpec& spec : config::weight_table(config_)) {
    stored_bytes_[spec.key] = opened.store->stored_bytes(spec.key);
  }
}

double ModelCosts::bytes_per_token() const {
  return static_cast<double>(config::decode_weight_bytes_per_token(
      config_, [&](const config::WeightSpec& spec) { return stored_bytes_.at(spec.key); }));
}

double ModelCosts::multiply_adds_per_token() const {
  return static_cast<double>(config::multiply_adds_per_token(config_));
}

std::optional<double> ModelCosts::bytes_per_token(Index batch) const {
  if (batch == 1) {
    return bytes_per_token();
  }
  std::vector<double> distinct;
  if (has_experts()) {
    const auto counted = distinct_experts_.find(batch);
    if (counted == distinct_experts_.end()) {
      return std::nullopt;
    }
    distinct = counted->second;
  }
  const auto bytes_of = [&](const config::WeightSpec& spec) { return stored_bytes_.at(spec.key); };
  return config::decode_weight_bytes_per_step(config_, bytes_of, batch, distinct) /
         static_cast<double>(batch);
}

void ModelCosts::set_distinct_experts(Index batch, std::vector<double> counts) {
  distinct_experts_[batch] = std::move(counts);
}

std::vector<double> count_distinct_experts(const std::string& path,
                                           ModelOptions options,
                                           Index num_layers,
                                           Index batch,
                                           Beginnings beginnings) {
  bool is_counting = false;
  std::vector<std::set<std::int32_t>> chosen(to_size(num_layers));
  options.on_experts = [&](Index layer_idx, std::span<const std::int32_t> ids) {
    if (is_counting) {
      chosen[to_size(layer_idx)].insert(ids.begin(), ids.end());
    }
  };
  const std::shared_ptr<Model> model = Model::open(path, options);
  std::mt19937 random(static_cast<unsigned>(batch));
  const Index vocab_size = model->facts().vocab_size;
  std::vector<Session> bases;
  for (Index idx = 0; idx < num_beginnings(beginnings, batch); ++idx) {
    bases.push_back(model->start());
    bases.back().append(draw_tokens(random, vocab_size, bench::kSeedTokens));
  }
  std::vector<Session> sessions = fork_batch(bases, batch);
  const std::vector<Session*> pointers = pointers_to(sessions);
  std::vector<double> sums(to_size(num_layers), 0);
  const Index num_steps =
      std::clamp<Index>(model->facts().max_context - bench::kSeedTokens, 1, kCountedSteps);
  is_counting = true;
  for (Index step = 0; step < num_steps; ++step) {
    Session::append_each(pointers, draw_tokens(random, vocab_size, batch),
                         [](Index, Index, const float*) {});
    for (std::size_t layer = 0; layer < chosen.size(); ++layer) {
      sums[layer] += static_cast<double>(chosen[layer].size()) / static_cast<double>(num_steps);
      chosen[layer].clear();
    }
  }
  return sums;
}

bool MemoryPeak::begin() {
  return platform::reset_peak_resident();
}

void MemoryPeak::end() {
  if (const auto peak = platform::peak_resident_bytes()) {
    keep_larger(resident_bytes, *peak - measuring_bytes);
  }
  if (const auto resident = platform::resident_bytes()) {
    keep_larger(anonymous_bytes, resident->anonymous - measuring_bytes);
    keep_larger(file_mapped_bytes, resident->file_mapped);
  }
}

ModelSubject::ModelSubject(std::shared_ptr<Model> model,
                           const ModelCosts& costs,
                           const SubjectOptions& options)
    : model_(std::move(model)),
      costs_(costs),
      options_(options),
      pool_({.num_threads = model_->facts().num_threads}),
      memory_{.measuring_bytes = to_index(options.buffer.bytes().size())} {}

std::vector<TokenId> ModelSubject::random_tokens(Index count) {
  return draw_tokens(random_, model_->facts().vocab_size, count);
}

void ModelSubject::warm_up() {
  MemoryPeak::begin();
  model_->finish_loading();
  Session session = model_->start();
  session.append(random_tokens(std::min(kWarmUpTokens, model_->facts().max_context)));
  memory_.end();
}

void ModelSubject::prepare(const bench::Cell& cell) {
  const Index count = bench::tokens_before(cell);
  if (count == 0) {
    return;
  }
  std::vector<Session>& filled = filled_[count];
  while (to_index(filled.size()) < num_beginnings(options_.beginnings, cell.batch)) {
    MemoryPeak::begin();
    Session session = model_->start();
    session.append(random_tokens(count));
    filled.push_back(std::move(session));
    memory_.end();
  }
}

bench::Run ModelSubject::run(const bench::Cell& cell) {
  MemoryPeak::begin();
  return cell.phase == bench::Phase::Prefill ? prefill(cell) : decode(cell);
}

bench::Run ModelSubject::prefill(const bench::Cell& cell) {
  const std::vector<TokenId> tokens = random_tokens(cell.tokens);
  Session session = model_->start();
  const auto start = Clock::now();
  session.append(tokens);
  const double seconds = seconds_since(start);
  memory_.end();
  return {.seconds = seconds};
}

bench::Run ModelSubject::decode(const bench::Cell& cell) {
  const std::vector<Session>& bases = filled_.at(bench::tokens_before(cell));
  {
    // Measuring the machine has emptied its caches: a step that does not count fills them again.
    std::vector<Session> forks = fork_batch(bases, cell.batch);
    append_next(forks, random_tokens(cell.batch));
  }
  std::vector<Session> sessions = fork_batch(bases, cell.batch);
  const std::vector<TokenId> tokens = random_tokens(cell.num_computed_tokens());
  const std::span<const TokenId> all(tokens);
  bench::Run run;
  auto start = Clock::now();
  for (Index step = 0; step < cell.tokens; ++step) {
    append_next(sessions, all.subspan(to_size(step * cell.batch), to_size(cell.batch)));
    const double part_s = seconds_since(start);
    if (part_s > kLongestPartSeconds && step + 1 < cell.tokens) {
      run.seconds += part_s;
      memory_.end();
      run.pauses.push_back(moment(cell.phase));
      MemoryPeak::begin();
      start = Clock::now();
    }
  }
  run.seconds += seconds_since(start);
  memory_.end();
  return run;
}

bench::Moment ModelSubject::moment(bench::Phase phase) {
  const runtime::Moment now = runtime::measure_moment(pool_, options_.buffer, options_.num_passes);
  return {.limit = phase == bench::Phase::Decode
                       ? std::optional(now.read.best)
                       : measure_bound(pool_, options_.prefill_bound, options_.buffer),
          .read_bytes_per_s = now.read.mean,
          .cached_bytes_per_s = now.cached_bytes_per_s,
          .barrier_s = now.barrier_s};
}

std::optional<double> ModelSubject::cost_per_token(const bench::Cell& cell) {
  return cell.phase == bench::Phase::Decode ? costs_.bytes_per_token(cell.batch)
                                            : 2 * costs_.multiply_adds_per_token();
}

std::optional<double> measure_bound(platform::ThreadPool& pool,
                                    bench::Bound bound,
                                    const runtime::ReadBuffer& buffer) {
  const auto peak = [&](runtime::Peak which) {
    return rate_of(runtime::measure_peak(pool, which, kProbeIterations, kMomentPasses));
  };
  switch (bound) {
    case bench::Bound::Read:
      return runtime::measure_read(pool, buffer.bytes(), kMomentPasses).best;
    case bench::Bound::Int8:
      return peak(runtime::Peak::Int8);
    case bench::Bound::Bf16:
      return peak(runtime::Peak::Bf16);
    case bench::Bound::Fp32:
      return peak(runtime::Peak::Fp32);
    case bench::Bound::None:
      break;
  }
  return std::nullopt;
}

}  // namespace fathom::app
