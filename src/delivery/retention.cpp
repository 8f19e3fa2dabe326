#include "delivery/retention.h"

#include <algorithm>
#include <array>

namespace wfo::delivery {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::seconds;

constexpr std::string_view kCounterName = "retention_deleted_total";
constexpr std::string_view kCounterHelp = "Rows that had served their time";

Result<void> check_duration(std::string_view field, milliseconds value, milliseconds min, milliseconds max) {
  if (value >= min && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{} is {}ms; {} to {} is allowed", field, value.count(),
              format_duration(min), format_duration(max));
}

Result<void> check_number(std::string_view field, std::uint64_t value, std::uint64_t max) {
  if (value >= 1 && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{} is {}; 1 to {} is allowed", field, value, max);
}

}  // namespace

Result<void> check(const RetentionConfig& config) {
  TRY(check_duration("runs", config.runs, hours(1), days(3650)));
  TRY(check_duration("triggers", config.triggers, hours(1), days(3650)));
  TRY(check_duration("inbox", config.inbox, hours(1), days(3650)));
  TRY(check_duration("dead_letters", config.dead_letters, hours(1), days(3650)));
  TRY(check_duration("job_runs", config.job_runs, hours(1), days(3650)));
  TRY(check_duration("fires", config.fires, hours(1), days(3650)));
  TRY(check_duration("log", config.log, milliseconds(0), days(3650)));
  TRY(check_duration("interval", config.interval, seconds(1), days(1)));
  TRY(check_duration("pause", config.pause, milliseconds(0), seconds(10)));
  TRY(check_number("rows_max", config.rows_max, 100'000));
  TRY(check_number("steps_max", config.steps_max, 1'000'000));
  if (config.lag_warning < 1) {
    return fail(ErrorCode::invalid_argument, "lag_warning is {}; 1 or more is allowed", config.lag_warning);
  }
  return {};
}

/// One kind of rows in a round.
struct Retention::Kind {
  using Purge = Result<std::size_t> (*)(store::Transaction&, const Kind&, std::size_t count_max);
  Purge purge;
  Timestamp before;
  store::Sequence through;  // of the log
  std::size_t& deleted;
  Counter& counter;
  bool done = false;
};

Retention::Retention(store::Store& store, store::LogReader& log_reader, RetentionConfig config, const Clock& clock,
                     Waiter& waiter, Logger& log, Metrics& metrics)
    : Retention(store, log_reader, false, {}, {}, config, clock, waiter, log, metrics) {}

Retention::Retention(store::Store& store, store::LogReader& log_reader, std::vector<std::string> queues,
                     std::vector<OutsidePosition> outside, RetentionConfig config, const Clock& clock, Waiter& waiter,
                     Logger& log, Metrics& metrics)
    : Retention(store, log_reader, true, std::move(queues), std::move(outside), config, clock, waiter, log, metrics) {}

Retention::Retention(store::Store& store, store::LogReader& log_reader, bool log_is_read,
                     std::vector<std::string> queues, std::vector<OutsidePosition> outside, RetentionConfig config,
                     const Clock& clock, Waiter& waiter, Logger& log, Metrics& metrics)
    : store_(store),
      log_reader_(log_reader),
      log_is_read_(log_is_read),
      queues_(std::move(queues)),
      outside_(std::move(outside)),
      config_(config),
      clock_(clock),
      waiter_(waiter),
      log_(log),
      runs_(metrics.counter(kCounterName, kCounterHelp, {{"what", "runs"}})),
      triggers_(metrics.counter(kCounterName, kCounterHelp, {{"what", "triggers"}})),
      inbox_(metrics.counter(kCounterName, kCounterHelp, {{"what", "inbox"}})),
      dead_letters_(metrics.counter(kCounterName, kCounterHelp, {{"what", "dead_letters"}})),
      job_runs_(metrics.counter(kCounterName, kCounterHelp, {{"what", "job_runs"}})),
      fires_(metrics.counter(kCounterName, kCounterHelp, {{"what", "fires"}})),
      trimmed_(metrics.counter(kCounterName, kCounterHelp, {{"what", "log"}})),
      held_back_(metrics.gauge("log_held_back_entries", "Entries of the log that the slowest consumer still needs")) {
  INVARIANT(check(config_));
}

/// The last sequence that no consumer needs any more.
Result<store::Sequence> Retention::trimmable() {
  const auto last = log_reader_.last();
  if (!log_is_read_) return last - 1;
  std::vector<std::pair<std::string, store::Sequence>> positions;
  // The outside ones first: what they say is true already, and the store's can only have grown since.
  for (const auto& outside : outside_) {
    auto position = outside.position();
    if (!position) return std::unexpected(with_context(std::move(position).error(), outside.consumer));
    positions.emplace_back(outside.consumer, *position);
  }
  const auto read = store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto known, transaction.positions().all());
    for (auto& position : known) positions.push_back(std::move(position));
    return {};
  });
  if (!read) return std::unexpected(read.error());
  for (const auto& queue : queues_) {
    const bool known = std::ranges::any_of(positions, [&](const auto& position) { return position.first == queue; });
    if (!known) positions.emplace_back(queue, 0);
  }
  const auto slowest = std::ranges::min_element(positions, {}, [](const auto& position) { return position.second; });
  if (slowest == positions.end()) return 0;  // nobody consumes yet: who comes first wants everything

  const auto lag = std::max<store::Sequence>(last - slowest->second, 0);
  held_back_.set(static_cast<double>(lag));
  if (lag < config_.lag_warning) {
    slowest_.clear();
  } else if (slowest_ != slowest->first) {
    slowest_ = slowest->first;
    log_.warn("consumer {} holds back {} entries of the log, which grows until it goes on", slowest_, lag);
  }
  return std::min(slowest->second, last - 1);
}

Result<Retention::Round> Retention::run_once(Timestamp now, std::stop_token stop, LeaseKeeper* lease) {
  Round round;
  const auto trimmable_through = trimmable();
  if (!trimmable_through) log_.warn("retention: the log is left as it is: {}", trimmable_through.error().message);
  const auto through = trimmable_through.value_or(0);
  std::array kinds{
      Kind{[](auto& t, auto& kind, auto count) { return t.log().trim(kind.through, kind.before, count); },
           now - config_.log, through, round.log, trimmed_, through <= 0},
      Kind{[](auto& t, auto& kind, auto count) { return t.runs().purge(kind.before, count); }, now - config_.runs, 0,
           round.runs, runs_},
      Kind{[](auto& t, auto& kind, auto count) { return t.triggers().purge(kind.before, count); },
           now - config_.triggers, 0, round.triggers, triggers_},
      Kind{[](auto& t, auto& kind, auto count) { return t.inbox().purge(kind.before, count); }, now - config_.inbox, 0,
           round.inbox, inbox_},
      Kind{[](auto& t, auto& kind, auto count) { return t.dead_letters().purge(kind.before, count); },
           now - config_.dead_letters, 0, round.dead_letters, dead_letters_},
      Kind{[](auto& t, auto& kind, auto count) { return t.job_runs().purge(kind.before, count); },
           now - config_.job_runs, 0, round.job_runs, job_runs_},
      Kind{[](auto& t, auto& kind, auto count) { return t.fires().purge(kind.before, count); }, now - config_.fires, 0,
           round.fires, fires_},
  };
  // In turn, so that much of one kind does not keep the others waiting.
  std::size_t steps = 0;
  for (std::size_t i = 0; !std::ranges::all_of(kinds, &Kind::done); i = (i + 1) % kinds.size()) {
    Kind& kind = kinds[i];
    if (kind.done) continue;
    if (steps == config_.steps_max) return round;
    if (steps > 0 && !waiter_.wait(config_.pause, stop)) return round;
    if (lease) {
      TRY_ASSIGN(const auto epoch, lease->hold());
      if (!epoch) return round;
    }
    ++steps;
    std::size_t count = 0;
    const auto purged = store_.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(count, kind.purge(transaction, kind, config_.rows_max));
      return {};
    });
    if (!purged) return std::unexpected(purged.error());
    kind.deleted += count;
    kind.counter.add(static_cast<double>(count));
    kind.done = count < config_.rows_max;
  }
  return round;
}

void Retention::run(std::stop_token stop, LeaseKeeper* lease) {
  // Rounds are short and rare, so the lease is held during one only: whoever comes first does the next. That two do one
  // after the other harms nobody.
  do {
    const auto round = run_once(clock_.now(), stop, lease);
    if (!round) {
      log_.warn("retention: {}; again in {}", round.error().message, format_duration(config_.interval));
    } else if (*round != Round{}) {
      log_.debug(
          "retention: deleted {} runs, {} triggers, {} inbox rows, {} dead letters, {} job runs, {} fires, {} log "
          "entries",
          round->runs, round->triggers, round->inbox, round->dead_letters, round->job_runs, round->fires, round->log);
    }
  } while (waiter_.wait(config_.interval, stop));
}

}  // namespace wfo::delivery
