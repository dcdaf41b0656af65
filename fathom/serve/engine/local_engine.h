// The engine that computes on this machine: one thread that serves all requests, step by step.
//
// Every step takes the tokens of all sequences whose turn it is; a sequence's results are the same
// bits whatever else is computed with it, whether it was put back and taken up again, and wherever
// its prompt was found computed already. So nothing here can be seen in a reply.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fathom/base/platform/clock.h"
#include "fathom/model/kv/cache_size.h"
#include "fathom/serve/engine/draft_judge.h"
#include "fathom/serve/engine/rate_meter.h"
#include "fathom/serve/engine/snapshot_keeper.h"
#include "fathom/serve/engine/step_runner.h"

namespace fathom::engine {

// Whether a model's draft block guesses tokens ahead. It changes how fast tokens come, never which.
enum class Drafts { Off, WhenFaster, Always };

struct EngineOptions {
  Index max_running = 32;   // sequences computed side by side; further ones wait
  Index max_waiting = 256;  // requests beside as many as may run; further ones are refused
  // Tokens computed at a time, at least max_running: bounds the memory of a step.
  Index step_tokens = 512;
  // Memory of all caches, kept ones included; at least what a full context takes.
  std::int64_t cache_budget_bytes = std::int64_t{4} << 30;
  Index max_retained = 256;  // sequences kept for requests that begin alike
  Index max_prompts_per_user = 2;
  Drafts drafts = Drafts::WhenFaster;
  PaceOptions pace = {};
  // Keeps what requests computed on disk; an empty folder: nothing is.
  SnapshotOptions snapshots = {};
};

// A model that is the same weights with a low-rank adapter beside them.
struct EngineAdapter {
  std::string name;  // as requests call it
  const layers::CausalLm* lm = nullptr;
  std::string identity;  // tells it from other adapters: caches of one are never used by another
};

// What an engine computes with. `owner` keeps the rest alive.
struct EngineModel {
  std::shared_ptr<void> owner;
  const layers::CausalLm* lm = nullptr;
  ops::Context* context = nullptr;
  kv::CacheOptions cache_options = {};
  std::shared_ptr<kv::PagePool> pages;
  ModelLimits limits;
  // Of the weights and of all else that the bits of a cache depend on, for snapshots.
  std::string identity = {};
  std::vector<EngineAdapter> adapters = {};
};

class LocalEngine final : public Engine {
 public:
  // Throws InvalidArgument for options that do not fit the model or each other.
  LocalEngine(EngineModel model, text::TextModel text, const EngineOptions& options);
  // Requests that are not done fail with Unavailable.
  ~LocalEngine() override;
  LocalEngine(const LocalEngine&) = delete;
  LocalEngine& operator=(const LocalEngine&) = delete;

  const ModelLimits& limits() const override { return model_.limits; }
  const TextServices& text() const override { return text_; }
  // Throws NotFound for an adapter that the engine has not.
  RequestId submit(PreparedRequest request, EventSink sink) override;
  // Waits for a call of the request's sink that is under way, so the caller must not hold what the
  // sink waits for. A sink may cancel its own request.
  void cancel(RequestId id) noexcept override;
  EngineStats stats() const override;

  // What tells an adapter of this name from others; empty for one that is not there.
  std::string adapter_identity(const std::string& name) const;

  // Refuses what comes from here on; what is there goes on.
  void drain();
  // Whether every request was done before `limit` passed.
  bool wait_until_idle(std::chrono::milliseconds limit);

 private:
  void open_snapshots();
  // The engine's thread.
  void run() noexcept;
  bool take_inbox();
  void enter(std::unique_ptr<ActiveRequest> request);
  bool is_on_disk(ActiveRequest& request);
  void take_loaded(SnapshotKeeper::Loaded loaded);
  void stop_loading(ActiveRequest& request);
  void schedule(ActiveRequest& request);
  void unschedule(const Sequence& sequence);
  void step();
  StepPlan next_plan();
  Reusable reusable(SequenceId id);
  struct Source {
    Index num_tokens = 0;
    std::optional<PrefixLibrary::Match> retained = {};
    const Sequence* running = nullptr;
  };
  Source find_source(const Sequence& sequence) const;
  void apply(const StepPlan& plan);
  void admit(Sequence& sequence);
  void retain(Sequence& sequence);
  void save(Sequence& sequence);
  bool make_room(Index bytes_short);
  void compute(const StepPlan& plan);
  Guesses choose_guesses(Index num_decoded);
  void use(const StepResult& result);
  void report(Sequence& sequence);
  void take_token(Sequence& sequence, const sampling::Picked& picked);
  void finish(Sequence& sequence, bool is_cut, bool is_constraint_released);
  void remove(Sequence& sequence);
  void fail_request(ActiveRequest& request, const std::exception_ptr& error);
  void drop(ActiveRequest& request);
  void end_expired(TimePoint now);
  void tell(ActiveRequest& request, GenerateEvent event);
  void forget(ActiveRequest& request);
  void publish_counts();
  void fail_all(const std::exception_ptr& error) noexcept;
  Sequence& at(SequenceId id) { return *sequences_.at(id); }
  void refuse_if_full();
  const EngineAdapter* find_adapter(const std::string& name) const;
  void choose_model(ActiveRequest& request) const;
  Index used_bytes() const { return model_.pages->used_bytes(); }
  Index free_bytes() const { return options_.cache_budget_bytes - used_bytes() - loading_bytes_; }

  EngineModel model_;
  TextServices text_;
  EngineOptions options_;
  const layers::DraftModule* draft_;  // null where there is none, or it is not to be used
  kv::CacheSize cache_size_;

  // Between threads.
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // something came in, or a request is done
  std::vector<std::unique_ptr<ActiveRequest>> arrivals_;
  std::vector<RequestId> cancels_;
  std::vector<SnapshotKeeper::Loaded> loaded_;
  std::map<RequestId, std::shared_ptr<EventGate>> gates_;  // of requests that are not done
  std::uint64_t num_submitted_ = 0;
  bool is_draining_ = false;
  bool is_stopping_ = false;
  EngineStats stats_;
  RateMeter decode_rate_;

  // Of the engine's thread.
  Scheduler scheduler_;
  PrefixLibrary library_;
  StepRunner runner_;
  DraftJudge judge_;
  bool keeps_drafts_ = false;  // draft blocks are kept up to date
  std::map<RequestId, std::unique_ptr<ActiveRequest>> requests_;
  std::map<SequenceId, Sequence*> sequences_;
  std::uint64_t num_sequences_ = 0;
  std::vector<std::unique_ptr<ActiveRequest>> over_;  // whose results the step may still hold
  std::set<RetainedId> promised_;                     // to sequences of the plan in the making
  std::vector<SequenceId> candidates_;                // that plan may let in
  std::vector<StepSegment> segments_;
  // The end of the step before, or of having had nothing to do: what lies between is what clients
  // wait for too.
  TimePoint step_begin_;
  Index num_loading_ = 0;    // requests that wait for the disk
  Index loading_bytes_ = 0;  // memory promised to them

  std::unique_ptr<SnapshotKeeper> snapshots_;  // null: nothing is kept on disk
  std::thread thread_;
};

}  // namespace fathom::engine
