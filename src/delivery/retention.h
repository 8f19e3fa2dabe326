#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "delivery/lease_keeper.h"
#include "delivery/waiter.h"
#include "store/store.h"

namespace wfo::delivery {

/// How long what is kept. Ages count from when a run ended, a trigger or message was received, a letter was set aside,
/// a fire was decided, an event was committed.
struct RetentionConfig {
  milliseconds runs{std::chrono::days(30)};          // finished runs with their results; 1h..3650d
  milliseconds triggers{std::chrono::days(30)};      // 1h..3650d: a trigger that comes again later starts a run again
  milliseconds inbox{std::chrono::days(30)};         // 1h..3650d: a message that comes again later is handled again
  milliseconds dead_letters{std::chrono::days(90)};  // settled ones; 1h..3650d. Waiting ones are never deleted
  milliseconds job_runs{std::chrono::days(90)};      // ended runs of jobs; 1h..3650d
  milliseconds fires{std::chrono::days(90)};         // what became of schedules' fires; 1h..3650d
  milliseconds log{std::chrono::hours(1)};           // 0..3650d; what a consumer still needs is kept whatever its age

  milliseconds interval{std::chrono::minutes(1)};  // 1s..1d between two rounds
  milliseconds pause{10};                          // 0..10s between two transactions of a round
  std::size_t rows_max = 1'000;                    // 1..100000 a transaction
  std::size_t steps_max = 10'000;                  // 1..1000000 transactions a round; what is left waits for the next
  store::Sequence lag_warning = 1'000'000;         // >= 1: entries that a consumer may hold back before it is named

  friend bool operator==(const RetentionConfig&, const RetentionConfig&) = default;
};

/// Errors: `invalid_argument` names the field, its value and what is allowed.
[[nodiscard]] Result<void> check(const RetentionConfig& config);

/// A consumer whose position lies elsewhere than in the store.
struct OutsidePosition {
  std::string consumer;
  std::function<Result<store::Sequence>()> position;  // durable: everything up to it has taken effect
};

/// Deletes what has served its time, in small transactions with pauses, so that others get their turn. The log is
/// trimmed behind the slowest consumer: those that the store has positions of, those of `queues` (one that was never
/// seen stands at 0 and holds everything back), and the outside ones. While one of those cannot be asked, the log
/// stays. The newest entry always stays: what a store counts on from must not be lost. One thread runs it.
class Retention {
 public:
  /// `queues`: every queue of the installation's configuration, whether its role runs in this process or not.
  Retention(store::Store& store, store::LogReader& log_reader, std::vector<std::string> queues,
            std::vector<OutsidePosition> outside, RetentionConfig config, const Clock& clock, Waiter& waiter,
            Logger& log, Metrics& metrics);
  /// Of an installation whose bus is a broker: nobody reads the log itself, so it is trimmed by age. (The store keeps
  /// what awaits publication.)
  Retention(store::Store& store, store::LogReader& log_reader, RetentionConfig config, const Clock& clock,
            Waiter& waiter, Logger& log, Metrics& metrics);

  struct Round {
    std::size_t runs = 0;
    std::size_t triggers = 0;
    std::size_t inbox = 0;
    std::size_t dead_letters = 0;
    std::size_t job_runs = 0;
    std::size_t fires = 0;
    std::size_t log = 0;
    friend bool operator==(const Round&, const Round&) = default;
  };
  /// One round, as if it were `now`; ends early on `stop`, or when another process has `lease`. Returns what was
  /// deleted. Errors: as the store; what was deleted before stays deleted.
  [[nodiscard]] Result<Round> run_once(Timestamp now, std::stop_token stop = {}, LeaseKeeper* lease = nullptr);
  /// A round now and one every `interval`, until `stop`. A round that fails is logged and tried again at the next.
  /// `lease`: where there are several processes, only its holder deletes; null: there is no other.
  void run(std::stop_token stop, LeaseKeeper* lease = nullptr);

 private:
  struct Kind;
  Retention(store::Store& store, store::LogReader& log_reader, bool log_is_read, std::vector<std::string> queues,
            std::vector<OutsidePosition> outside, RetentionConfig config, const Clock& clock, Waiter& waiter,
            Logger& log, Metrics& metrics);
  Result<store::Sequence> trimmable();

  store::Store& store_;
  store::LogReader& log_reader_;
  const bool log_is_read_;  // by consumers, who hold it back
  std::vector<std::string> queues_;
  std::vector<OutsidePosition> outside_;
  RetentionConfig config_;
  const Clock& clock_;
  Waiter& waiter_;
  Logger& log_;
  Counter& runs_;
  Counter& triggers_;
  Counter& inbox_;
  Counter& dead_letters_;
  Counter& job_runs_;
  Counter& fires_;
  Counter& trimmed_;
  Gauge& held_back_;
  std::string slowest_;  // the consumer that was named last for holding too much back; "" none
};

}  // namespace wfo::delivery
