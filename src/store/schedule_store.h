#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace wfo::store {

enum class ScheduleOrigin { configuration, api };
[[nodiscard]] std::string_view name(ScheduleOrigin origin);

struct StoredSchedule {
  std::string name;
  ScheduleOrigin origin = ScheduleOrigin::configuration;
  std::string definition;  // schedule::encode
  bool paused = false;
  std::string pause_note;
  std::optional<Timestamp> next_at;     // the first expected fire that is not accounted for; nothing: there is none
  std::optional<Timestamp> wake_up_at;  // when somebody must look; nothing: never, unless something happens
  Timestamp created_at;
  Timestamp updated_at;      // of its definition, or of paused
  std::int64_t version = 1;  // counts updates; the store's
  friend bool operator==(const StoredSchedule&, const StoredSchedule&) = default;
};

/// All schedules of an installation: of no tenant.
class ScheduleStore {
 public:
  virtual ~ScheduleStore() = default;
  /// One place per name, in order. In a transaction nobody else writes these until its end (locked by name).
  [[nodiscard]] virtual Result<std::vector<std::optional<StoredSchedule>>> find(
      std::span<const std::string> names) const = 0;
  [[nodiscard]] Result<std::optional<StoredSchedule>> find(const std::string& name) const {
    TRY_ASSIGN(auto found, find({&name, 1}));
    return std::move(found.front());
  }
  /// By name, those behind `after`.
  [[nodiscard]] virtual Result<std::vector<StoredSchedule>> list(std::string_view after,
                                                                 std::size_t count_max) const = 0;
  /// Those with wake_up_at <= now, the oldest first. In a transaction nobody else writes these until its end; those
  /// that somebody else holds are passed over.
  [[nodiscard]] virtual Result<std::vector<StoredSchedule>> due(Timestamp now, std::size_t count_max) const = 0;
  [[nodiscard]] virtual Result<std::optional<Timestamp>> next_wake_up() const = 0;
  /// One place per schedule, in order: false, and it is not written, if the name is taken. `version` becomes 1.
  /// Errors: `invalid_argument` a text that `check_text` refuses; then nothing is written.
  [[nodiscard]] virtual Result<std::vector<bool>> insert(std::span<const StoredSchedule> schedules) = 0;
  /// Replaces what stands under the name if its version is still `version` of the row given, and counts that up. One
  /// place per schedule: false, and it is not written, if not. Errors: as `insert`.
  [[nodiscard]] virtual Result<std::vector<bool>> update(std::span<const StoredSchedule> schedules) = 0;
  /// Its fires and runs stay. False: there is none.
  [[nodiscard]] virtual Result<bool> remove(std::string_view name) = 0;
};

}  // namespace wfo::store
