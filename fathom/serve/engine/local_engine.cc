#include "fathom/serve/engine/local_engine.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::engine {
namespace {

using platform::Clock;

double seconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

CacheCost cost_of(const kv::CacheSize& size) {
  return {.resident_bytes = [&size](Index num_tokens) { return size.resident_bytes(num_tokens); },
          .growth_bytes = [&size](Index num_tokens,
                                  Index num_new) { return size.growth_bytes(num_tokens, num_new); },
          .fork_bytes = size.fork_bytes()};
}

// All that is kept for a sequence.
std::vector<config::CacheStream> layout_of(const layers::CausalLm& lm,
                                           const layers::DraftModule* draft) {
  std::vector<config::CacheStream> layout = lm.cache_layout();
  if (draft != nullptr) {
    layout.insert(layout.end(), draft->cache_layout().begin(), draft->cache_layout().end());
  }
  return layout;
}

RequestFailure failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return {.code = known.code(), .message = known.what()};
  } catch (const std::bad_alloc&) {
    return {.code = ErrorCode::OutOfMemory, .message = "the system does not grant more memory"};
  } catch (const std::exception& other) {
    return {.code = ErrorCode::Internal, .message = other.what()};
  } catch (...) {
    return {.code = ErrorCode::Internal, .message = "unknown error"};
  }
}

void check_options(const EngineOptions& options,
                   const EngineModel& model,
                   const kv::CacheSize& size) {
  if (options.max_waiting < 0 || options.max_retained < 0) {
    fail(ErrorCode::InvalidArgument, "engine: found ", options.max_waiting, " waiting and ",
         options.max_retained, " kept sequences at most, expected no negative number");
  }
  const Index needed = size.resident_bytes(model.limits.max_context) +
                       size.growth_bytes(0, options.step_tokens) + size.fork_bytes();
  if (needed > options.cache_budget_bytes) {
    fail(ErrorCode::InvalidArgument, "cache: one request of ", model.limits.max_context,
         " tokens takes ", needed, " bytes, expected at most ", options.cache_budget_bytes,
         " (the cache's budget): ask for a shorter context or allow more");
  }
}

}  // namespace

LocalEngine::LocalEngine(EngineModel model, text::TextModel text, const EngineOptions& options)
    : model_(std::move(model)),
      text_(std::move(text), model_.limits.vocab_size),
      options_(options),
      draft_(options.drafts == Drafts::Off ? nullptr : model_.lm->draft()),
      cache_size_(
          layout_of(*model_.lm, draft_), model_.context->cache_dtype(), model_.cache_options),
      scheduler_({.max_running = options.max_running,
                  .step_tokens = options.step_tokens,
                  .max_prompts_per_user = options.max_prompts_per_user,
                  .pace = options.pace},
                 cost_of(cache_size_)),
      library_(options.max_retained),
      runner_(*model_.lm, *model_.context),
      keeps_drafts_(draft_ != nullptr) {
  check_options(options, model_, cache_size_);
  stats_.cache_budget_bytes = options.cache_budget_bytes;
  open_snapshots();
  thread_ = std::thread([this] { run(); });
}

void LocalEngine::open_snapshots() {
  if (options_.snapshots.folder.empty()) {
    return;
  }
  SnapshotOptions options = options_.snapshots;
  options.identity = model_.identity;
  snapshots_ = std::make_unique<SnapshotKeeper>(
      options,
      [this] {
        return kv::SequenceCache(model_.lm->cache_layout(), model_.context->cache_dtype(),
                                 model_.cache_options, model_.pages);
      },
      [this](SnapshotKeeper::Loaded loaded) {
        const std::lock_guard lock(mutex_);
        loaded_.push_back(std::move(loaded));
        changed_.notify_all();
      });
}

LocalEngine::~LocalEngine() {
  {
    const std::lock_guard lock(mutex_);
    is_draining_ = is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (snapshots_ != nullptr) {
    snapshots_->flush();
  }
}

// ---- any thread ----

void LocalEngine::refuse_if_full() {
  const std::lock_guard lock(mutex_);
  if (is_draining_) {
    fail(ErrorCode::Unavailable, "the server is going down and takes no more requests");
  }
  const Index most = options_.max_running + options_.max_waiting;
  if (to_index(gates_.size()) >= most) {
    ++stats_.requests_rejected;
    fail(ErrorCode::Overloaded, "the server has ", most,
         " requests to work on and takes no more: try again later");
  }
}

const EngineAdapter* LocalEngine::find_adapter(const std::string& name) const {
  const auto found = std::find_if(model_.adapters.begin(), model_.adapters.end(),
                                  [&](const EngineAdapter& each) { return each.name == name; });
  return found == model_.adapters.end() ? nullptr : &*found;
}

std::string LocalEngine::adapter_identity(const std::string& name) const {
  const EngineAdapter* const found = find_adapter(name);
  return found == nullptr ? "" : found->identity;
}

// The key of an engine that has adapters begins with the length of an identity, so that no scope of
// a client's spells another adapter's.
void LocalEngine::choose_model(ActiveRequest& request) const {
  const std::string& name = request.prepared.request.adapter;
  const EngineAdapter* const found = find_adapter(name);
  if (!name.empty() && found == nullptr) {
    fail(ErrorCode::NotFound, "adapter: expected one that the server was started with, found \"",
         name, "\"");
  }
  request.lm = found == nullptr ? model_.lm : found->lm;
  if (!model_.adapters.empty()) {
    const std::string identity = adapter_identity(name);
    request.cache_key = std::to_string(identity.size()) + ":" + identity + request.scope();
  }
}

RequestId LocalEngine::submit(PreparedRequest request, EventSink sink) {
  refuse_if_full();
  auto active = make_active(std::move(request), std::move(sink), text_, model_.limits.vocab_size);
  choose_model(*active);
  refuse_if_full();
  const std::lock_guard lock(mutex_);
  active->id = static_cast<RequestId>(++num_submitted_);
  const RequestId id = active->id;
  gates_[id] = active->gate;
  arrivals_.push_back(std::move(active));
  changed_.notify_all();
  return id;
}

void LocalEngine::cancel(RequestId id) noexcept {
  std::shared_ptr<EventGate> gate;
  {
    const std::lock_guard lock(mutex_);
    const auto found = gates_.find(id);
    if (found == gates_.end()) {
      return;
    }
    gate = found->second;
    cancels_.push_back(id);
  }
  changed_.notify_all();
  gate->close();
}

EngineStats LocalEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.num_waiting += to_index(arrivals_.size());
  stats.cache_bytes = used_bytes();
  stats.decode_tokens_per_s = decode_rate_.per_s(Clock::now());
  return stats;
}

void LocalEngine::drain() {
  const std::lock_guard lock(mutex_);
  is_draining_ = true;
}

bool LocalEngine::wait_until_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return gates_.empty(); });
}

// ---- the engine's thread ----

void LocalEngine::run() noexcept {
  while (take_inbox()) {
    try {
      end_expired(Clock::now());
      step();
    } catch (...) {
      fail_all(std::current_exception());
    }
    over_.clear();
    const std::lock_guard lock(mutex_);
    publish_counts();
  }
  fail_all(std::make_exception_ptr(Error(ErrorCode::Unavailable, "the server is going down")));
}

// Under the mutex.
void LocalEngine::publish_counts() {
  stats_.num_waiting = scheduler_.num_waiting() + num_loading_;
  stats_.num_running = scheduler_.num_running();
}

void LocalEngine::step() {
  const StepPlan plan = next_plan();
  if (plan.rows.empty()) {
    FATHOM_CHECK(sequences_.empty());
    return;
  }
  compute(plan);
}

void LocalEngine::compute(const StepPlan& plan) {
  segments_.clear();
  Index num_decoded = 0;
  Index num_prompt = 0;
  for (const StepRow& row : plan.rows) {
    Sequence& sequence = at(row.id);
    const Index count = std::min(row.num_tokens, sequence.num_tokens() - sequence.num_cached());
    if (sequence.num_cached() + count < sequence.num_tokens()) {
      sequence.drop_guesses();  // the step has no room for them
    }
    segments_.push_back({.sequence = &sequence, .num_tokens = count});
    num_decoded += row.is_decode ? 1 : 0;
    num_prompt += row.is_decode ? 0 : count;
  }
  const std::span<const StepResult> results = runner_.run(segments_, choose_guesses(num_decoded));
  std::set<ActiveRequest*> gone;
  Index num_picks = 0;
  Index num_guessed = 0;
  Index num_right = 0;
  for (const StepResult& result : results) {
    ActiveRequest& request = *result.sequence->request;
    num_picks += to_index(result.drawn.size());
    num_guessed += result.num_guessed;
    num_right += result.num_guessed > 0 ? to_index(result.drawn.size()) - 1 : 0;
    if (!request.is_over) {
      use(result);
    }
    if (request.is_gone && !request.is_over) {
      gone.insert(&request);
    }
  }
  for (ActiveRequest* request : gone) {
    drop(*request);
  }
  const TimePoint end = Clock::now();
  const double seconds = seconds_between(std::exchange(step_begin_, end), end);
  scheduler_.record_step(num_decoded, num_prompt, seconds);
  if (num_prompt == 0) {
    judge_.record(num_decoded, num_picks, seconds);
  }
  const std::lock_guard lock(mutex_);
  ++stats_.steps;
  stats_.step_tokens += static_cast<std::uint64_t>(num_decoded + num_guessed + num_prompt);
  stats_.drafted_tokens += static_cast<std::uint64_t>(num_guessed);
  stats_.accepted_drafts += static_cast<std::uint64_t>(num_right);
}

// Gives drafts up, and takes them up again, as the judge says.
Guesses LocalEngine::choose_guesses(Index num_decoded) {
  keeps_drafts_ =
      draft_ != nullptr && (options_.drafts == Drafts::Always || judge_.is_worth_keeping());
  if (!keeps_drafts_) {
    for (const StepSegment& segment : segments_) {
      segment.sequence->caches->draft.reset();
    }
    return Guesses::None;
  }
  const Guesses chosen = judge_.choose(num_decoded);
  return options_.drafts == Drafts::Always ? Guesses::Make : chosen;
}

void LocalEngine::use(const StepResult& result) {
  Sequence& sequence = *result.sequence;
  ActiveRequest& request = *sequence.request;
  if (result.error != nullptr) {
    fail_request(request, result.error);
    return;
  }
  report(sequence);
  if (!result.scores.empty()) {
    const Index first = request.num_scored + 1;
    request.num_scored += to_index(result.scores.size());
    tell(request, PromptScores{.first = first, .tokens = result.scores});
  }
  for (const Drawn& drawn : result.drawn) {
    take_token(sequence, drawn.picked);
    if (sequence.reader->is_done() || drawn.is_final) {
      finish(sequence, !sequence.reader->is_done(), drawn.is_constraint_released);
      return;
    }
  }
  if (sequence.num_cached() == sequence.num_tokens()) {
    finish(sequence, true, false);  // only the prompt was wanted
    return;
  }
  const bool is_decoding =
      !result.drawn.empty() &&
      sequence.num_cached() + 1 + sequence.num_guesses == sequence.num_tokens();
  scheduler_.update(sequence.id, sequence.num_cached(), sequence.num_tokens(), is_decoding);
}

void LocalEngine::report(Sequence& sequence) {
  ActiveRequest& request = *sequence.request;
  if (sequence.wants_progress() && !sequence.last_token_time) {
    tell(request, PromptProgress{.num_cached = request.usage.num_cached,
                                 .num_computed = std::max<Index>(
                                     0, sequence.num_cached() - request.usage.num_cached),
                                 .num_total = request.usage.num_prompt});
  }
}

void LocalEngine::take_token(Sequence& sequence, const sampling::Picked& picked) {
  ActiveRequest& request = *sequence.request;
  const TimePoint now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    ++stats_.reply_tokens;
    decode_rate_.add(now, 1);
    if (sequence.last_token_time) {
      stats_.inter_token.add(seconds_between(*sequence.last_token_time, now));
    }
    if (!request.has_first_token) {
      stats_.time_to_first_token.add(seconds_between(request.submit_time, now));
    }
  }
  request.has_first_token = true;
  sequence.last_token_time = now;
  tell(request, sequence.reader->push(picked));
}

// `is_cut`: for another reason than the reply's own.
void LocalEngine::finish(Sequence& sequence, bool is_cut, bool is_constraint_released) {
  ActiveRequest& request = *sequence.request;
  if (sequence.reader) {
    auto [delta, end] = sequence.reader->finish(is_cut, is_constraint_released);
    request.usage.num_reply += end.num_tokens;
    request.usage.num_reasoning += end.num_reasoning;
    if (!delta.events.empty()) {
      tell(request, std::move(delta));
    }
    tell(request, std::move(end));
  }
  save(sequence);
  retain(sequence);
  remove(sequence);
  if (request.sequences.empty()) {
    {
      const std::lock_guard lock(mutex_);
      ++stats_.requests_served;
    }
    tell(request, RequestEnd{request.usage});
    forget(request);
  }
}

// The sequence is no more after this.
void LocalEngine::remove(Sequence& sequence) {
  unschedule(sequence);
  std::erase_if(sequence.request->sequences,
                [&](const std::unique_ptr<Sequence>& each) { return each.get() == &sequence; });
}

void LocalEngine::end_expired(TimePoint now) {
  for (const SequenceId id : scheduler_.expired(now)) {
    Sequence& sequence = at(id);
    const bool is_constraint_released =
        sequence.generation && sequence.generation->is_constraint_released();
    finish(sequence, true, is_constraint_released);
  }
}

// The client went away. What was computed is kept: clients ask again.
void LocalEngine::drop(ActiveRequest& request) {
  while (!request.sequences.empty()) {
    Sequence& sequence = *request.sequences.back();
    save(sequence);
    retain(sequence);
    remove(sequence);
  }
  {
    const std::lock_guard lock(mutex_);
    ++stats_.requests_cancelled;
  }
  forget(request);
}

// What was computed is not kept: it may be what is wrong.
void LocalEngine::fail_request(ActiveRequest& request, const std::exception_ptr& error) {
  for (const std::unique_ptr<Sequence>& sequence : request.sequences) {
    sequence->caches.reset();
    unschedule(*sequence);
  }
  RequestFailure failure = failure_of(error);
  if (failure.code == ErrorCode::OutOfMemory) {
    // The system has less than the budget says: whoever comes next shall have what can be spared.
    while (library_.evict_one()) {
    }
  }
  {
    const std::lock_guard lock(mutex_);
    ++stats_.requests_failed;
  }
  tell(request, std::move(failure));
  forget(request);
}

void LocalEngine::fail_all(const std::exception_ptr& error) noexcept {
  while (!requests_.empty()) {
    fail_request(*requests_.begin()->second, error);
  }
}

void LocalEngine::tell(ActiveRequest& request, GenerateEvent event) {
  request.is_gone = !request.gate->tell(std::move(event)) || request.is_gone;
}

// The step in progress may still hold results of it.
void LocalEngine::forget(ActiveRequest& request) {
  request.is_over = true;
  stop_loading(request);
  const auto found = requests_.find(request.id);
  over_.push_back(std::move(found->second));
  requests_.erase(found);
  const std::lock_guard lock(mutex_);
  publish_counts();
  gates_.erase(request.id);
  changed_.notify_all();
}

}  // namespace fathom::engine
