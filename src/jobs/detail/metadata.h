#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"

namespace wfo::jobs {

// The years that a date and a timestamp can be written with.
inline constexpr Timestamp kTimeMin{std::chrono::sys_days{std::chrono::January / 1 / 1}};
inline constexpr Timestamp kTimeMax{std::chrono::sys_days{std::chrono::January / 1 / 10'000} - milliseconds(1)};

/// Member `name` of a job's metadata: a date (its beginning, UTC) or an RFC 3339 timestamp, kTimeMin to kTimeMax;
/// nothing if it is not there or null. Errors: `invalid_argument` names the member, its value and what is allowed.
[[nodiscard]] Result<std::optional<Timestamp>> time_member(json::Value metadata, std::string_view name);

/// The names of the members that are not `known`, for people: `, not used: form, until`; "" if there are none. A
/// misspelt member must not be silent.
[[nodiscard]] std::string unused_members(json::Value metadata, std::initializer_list<std::string_view> known);

/// A JSON value's text, cut where it would flood an error.
[[nodiscard]] std::string shown(json::Value value);

}  // namespace wfo::jobs
