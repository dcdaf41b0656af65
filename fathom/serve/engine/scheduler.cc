#include "fathom/serve/engine/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::engine {

Scheduler::Scheduler(const SchedulerOptions& options, CacheCost cost)
    : options_(options), cost_(std::move(cost)), pacer_(options.pace) {
  if (options.max_running < 1 || options.max_prompts_per_user < 1) {
    fail(ErrorCode::InvalidArgument, "engine: found ", options.max_running,
         " sequences at a time and ", options.max_prompts_per_user,
         " prompts per user, expected at least 1");
  }
  if (options.step_tokens < options.max_running) {
    fail(ErrorCode::InvalidArgument, "engine: found steps of ", options.step_tokens,
         " tokens, expected at least one for each of ", options.max_running, " sequences");
  }
}

Scheduler::Entry& Scheduler::at(SequenceId id) {
  const auto found = jobs_.find(id);
  FATHOM_CHECK(found != jobs_.end());
  return found->second;
}

void Scheduler::add(const Job& job) {
  FATHOM_CHECK(job.num_tokens > 0);
  const auto [user, is_new] = users_.try_emplace(job.user);
  if (is_new) {
    // Who comes back is owed nothing for the time away, and owes nothing.
    Index least = -1;
    for (const auto& [name, other] : users_) {
      if (other.num_jobs > 0 && (least < 0 || other.num_served < least)) {
        least = other.num_served;
      }
    }
    user->second.num_served = std::max<Index>(least, 0);
  }
  ++user->second.num_jobs;
  const bool is_inserted =
      jobs_.try_emplace(job.id, Entry{.job = job, .user = &*user, .num_tokens = job.num_tokens})
          .second;
  FATHOM_CHECK(is_inserted);
}

void Scheduler::remove(SequenceId id) {
  const Entry& entry = at(id);
  num_running_ -= entry.is_running ? 1 : 0;
  if (--entry.user->second.num_jobs == 0) {
    users_.erase(users_.find(entry.user->first));
  }
  jobs_.erase(id);
}

std::vector<SequenceId> Scheduler::expired(TimePoint now) const {
  std::vector<SequenceId> ids;
  for (const auto& [id, entry] : jobs_) {
    if (entry.job.deadline && *entry.job.deadline <= now) {
      ids.push_back(id);
    }
  }
  return ids;
}

// A plan in the making.
class Scheduler::Draft {
 public:
  Draft(const Scheduler& scheduler, const Capacity& capacity)
      : scheduler_(scheduler), capacity_(capacity), free_bytes_(capacity.free_bytes) {
    for (const auto& [id, entry] : scheduler.jobs_) {
      if (entry.is_running) {
        enter(entry);
        free_bytes_ -= entry.is_fork ? scheduler.cost_.fork_bytes : 0;
      } else {
        waiting_.push_back(&entry);
      }
    }
  }

  StepPlan make() {
    if (!has_room_to_decode()) {
      return std::move(plan_);
    }
    admit();
    add_decode_rows();
    add_prompt_rows();
    const Entry* victim = worst();
    if (plan_.rows.empty() && !capacity_.can_evict && plan_.preempted.empty() &&
        running_.size() > 1 && victim != nullptr) {
      plan_.admitted.clear();
      preempt(*victim);
    }
    return std::move(plan_);
  }

 private:
  struct Running {
    const Entry* entry;
    Index num_cached;
  };

  void enter(const Entry& entry) {
    running_.push_back({&entry, entry.num_cached});
    ++num_of_user_[entry.user];
  }

  Index num_of(const UserEntry* user) const {
    const auto found = num_of_user_.find(user);
    return found == num_of_user_.end() ? 0 : found->second;
  }

  // What decoding takes is set aside. Without room, kept caches give way, then sequences; one alone
  // goes on.
  bool has_room_to_decode() {
    Index needed = 0;
    for (const Running& running : running_) {
      if (running.entry->is_decoding) {
        needed += scheduler_.cost_.growth_bytes(running.num_cached, running.entry->num_left());
      }
    }
    if (needed > free_bytes_ && (running_.size() > 1 || capacity_.can_evict)) {
      plan_.bytes_short = needed - free_bytes_;
      if (!capacity_.can_evict) {
        preempt(*worst());
      }
      return false;
    }
    free_bytes_ -= needed;
    return true;
  }

  // The one to be put back first: the worst priority, of the user with most, the newest. None of
  // those that this plan lets in.
  const Entry* worst() const {
    const Entry* found = nullptr;
    const auto rank = [&](const Entry& entry) {
      return std::tuple(entry.job.priority, num_of(entry.user), entry.job.id);
    };
    for (const Running& running : running_) {
      if (running.entry->is_running && (found == nullptr || rank(*running.entry) > rank(*found))) {
        found = running.entry;
      }
    }
    return found;
  }

  void preempt(const Entry& entry) {
    plan_.preempted.push_back(entry.job.id);
    std::erase_if(running_, [&](const Running& running) { return running.entry == &entry; });
    --num_of_user_[entry.user];
  }

  bool is_before(const Entry& a, const Entry& b) const {
    const auto rank = [&](const Entry& entry) {
      return std::tuple(entry.job.priority, num_of(entry.user), entry.user->second.num_served,
                        entry.job.id);
    };
    return rank(a) < rank(b);
  }

  Index num_prompts_of(const UserEntry* user) const {
    return to_index(static_cast<std::size_t>(
        std::count_if(running_.begin(), running_.end(), [&](const Running& running) {
          return running.entry->user == user && !running.entry->is_decoding;
        })));
  }

  void admit() {
    while (!waiting_.empty()) {
      const auto next =
          std::min_element(waiting_.begin(), waiting_.end(),
                           [&](const Entry* a, const Entry* b) { return is_before(*a, *b); });
      const Entry& entry = **next;
      waiting_.erase(next);
      if (num_prompts_of(entry.user) >= scheduler_.options_.max_prompts_per_user) {
        continue;
      }
      const bool is_full = to_index(running_.size()) >= scheduler_.options_.max_running;
      const Entry* const victim = is_full ? worst() : nullptr;
      if (is_full && (victim == nullptr || !must_yield(*victim, entry))) {
        break;
      }
      const Reusable reusable = capacity_.reusable(entry.job.id);
      if (reusable.is_coming) {
        continue;
      }
      if (is_full) {
        preempt(*victim);
      }
      if (!has_room_for(entry, reusable)) {
        break;
      }
      plan_.admitted.push_back(entry.job.id);
      enter(entry);
      running_.back().num_cached = reusable.num_tokens;
      free_bytes_ -= reusable.num_tokens > 0 ? scheduler_.cost_.fork_bytes : 0;
    }
  }

  // Whether one may run for the other to wait: it matters less, or its user has too many.
  bool must_yield(const Entry& running, const Entry& waiting) const {
    return waiting.job.priority < running.job.priority ||
           (waiting.job.priority == running.job.priority &&
            num_of(running.user) >= num_of(waiting.user) + 2);
  }

  // What a sequence may still take up to the end of its prompt and a bit of its reply.
  Index bytes_ahead(const Entry& entry, Index num_cached) const {
    const CacheCost& cost = scheduler_.cost_;
    const Index wanted =
        cost.resident_bytes(entry.num_tokens + scheduler_.options_.reply_tokens_ahead);
    return std::max<Index>(0, wanted - cost.resident_bytes(num_cached));
  }

  bool has_room_for(const Entry& entry, const Reusable& reusable) {
    if (running_.empty()) {
      return true;
    }
    Index needed = bytes_ahead(entry, reusable.num_tokens);
    needed += reusable.num_tokens > 0 ? scheduler_.cost_.fork_bytes : 0;
    for (const Running& running : running_) {
      needed += bytes_ahead(*running.entry, running.num_cached);
    }
    if (needed <= free_bytes_) {
      return true;
    }
    plan_.bytes_short = std::max(plan_.bytes_short, needed - free_bytes_);
    const Entry* victim = worst();
    if (!capacity_.can_evict && victim != nullptr && entry.job.priority < victim->job.priority) {
      preempt(*victim);
    }
    return false;
  }

  void add_row(const Running& running, Index num_tokens, bool is_decode) {
    plan_.rows.push_back(
        {.id = running.entry->job.id, .num_tokens = num_tokens, .is_decode = is_decode});
    num_tokens_ += num_tokens;
  }

  // One token each; drafts while the step has room.
  void add_decode_rows() {
    Index num_decoded = 0;
    for (const Running& running : running_) {
      num_decoded += running.entry->is_decoding ? 1 : 0;
    }
    Index room = scheduler_.options_.step_tokens - num_decoded;
    for (const Running& running : running_) {
      if (running.entry->is_decoding) {
        const Index num_drafts = std::min(room, running.entry->num_left() - 1);
        room -= num_drafts;
        add_row(running, 1 + num_drafts, true);
      }
    }
  }

  // Prompts, those first that get more than their share when something is left.
  std::vector<Running> prompts() const {
    std::vector<Running> found;
    for (const Running& running : running_) {
      if (!running.entry->is_decoding) {
        found.push_back(running);
      }
    }
    std::sort(found.begin(), found.end(), [](const Running& a, const Running& b) {
      const auto rank = [](const Entry& entry) {
        return std::tuple(entry.job.priority, entry.user->second.num_served, entry.job.id);
      };
      return rank(*a.entry) < rank(*b.entry);
    });
    return found;
  }

  // How many tokens each prompt gets: of the best priority's users all the same, of a user's
  // prompts too; what nobody of them needs goes to the first that do.
  static std::vector<Index> shares(const std::vector<Running>& prompts, Index budget) {
    std::map<const UserEntry*, Index> num_of_user;
    const auto is_best = [&](const Running& running) {
      return running.entry->job.priority == prompts.front().entry->job.priority;
    };
    for (const Running& prompt : prompts) {
      if (is_best(prompt)) {
        ++num_of_user[prompt.entry->user];
      }
    }
    const auto left_of = [](const Running& prompt) {
      return prompt.entry->num_tokens - prompt.num_cached;
    };
    std::vector<Index> granted(prompts.size(), 0);
    Index left = budget;
    for (std::size_t idx = 0; idx < prompts.size() && is_best(prompts[idx]); ++idx) {
      const Index share =
          budget / (to_index(num_of_user.size()) * num_of_user.at(prompts[idx].entry->user));
      granted[idx] = std::min(share, left_of(prompts[idx]));
      left -= granted[idx];
    }
    for (std::size_t idx = 0; idx < prompts.size(); ++idx) {
      const Index more = std::min(left, left_of(prompts[idx]) - granted[idx]);
      granted[idx] += more;
      left -= more;
    }
    return granted;
  }

  void add_prompt_rows() {
    const std::vector<Running> found = prompts();
    if (found.empty()) {
      return;
    }
    const Index budget = std::min(scheduler_.options_.step_tokens - num_tokens_,
                                  scheduler_.pacer_.prompt_tokens(to_index(plan_.rows.size())));
    const std::vector<Index> granted = shares(found, budget);
    for (std::size_t idx = 0; idx < found.size(); ++idx) {
      const Index count = granted[idx] == 0 ? 0 : fitting(found[idx], granted[idx]);
      if (count > 0) {
        free_bytes_ -= scheduler_.cost_.growth_bytes(found[idx].num_cached, count);
        add_row(found[idx], count, false);
      }
    }
  }

  // As many of the tokens as memory holds. One alone is never held up; it is not alone as long as
  // caches are kept, as those are at first that this plan takes away.
  Index fitting(const Running& prompt, Index num_tokens) {
    if (running_.size() == 1 && !capacity_.can_evict && plan_.preempted.empty()) {
      return num_tokens;
    }
    for (Index count = num_tokens; count > 0; count /= 2) {
      const Index needed = scheduler_.cost_.growth_bytes(prompt.num_cached, count);
      if (needed <= free_bytes_) {
        return count;
      }
      plan_.bytes_short = std::max(plan_.bytes_short, needed - free_bytes_);
    }
    return 0;
  }

  const Scheduler& scheduler_;
  const Capacity& capacity_;
  StepPlan plan_;
  Index free_bytes_;
  Index num_tokens_ = 0;
  std::vector<const Entry*> waiting_;
  std::vector<Running> running_;
  std::map<const UserEntry*, Index> num_of_user_;
};

StepPlan Scheduler::plan(const Capacity& capacity) const {
  return Draft(*this, capacity).make();
}

void Scheduler::apply(const StepPlan& plan) {
  for (const SequenceId id : plan.preempted) {
    Entry& entry = at(id);
    FATHOM_CHECK(entry.is_running);
    entry.is_running = entry.is_decoding = entry.is_fork = false;
    entry.num_cached = 0;
    --num_running_;
  }
  for (const SequenceId id : plan.admitted) {
    Entry& entry = at(id);
    FATHOM_CHECK(!entry.is_running);
    entry.is_running = entry.is_fork = true;
    ++num_running_;
  }
  for (const StepRow& row : plan.rows) {
    Entry& entry = at(row.id);
    entry.is_fork = false;
    entry.user->second.num_served += row.num_tokens;
  }
}

void Scheduler::update(SequenceId id, Index num_cached, Index num_tokens, bool is_decoding) {
  Entry& entry = at(id);
  FATHOM_CHECK(entry.is_running && num_cached < num_tokens);
  entry.num_cached = num_cached;
  entry.num_tokens = num_tokens;
  entry.is_decoding = is_decoding;
}

}  // namespace fathom::engine
