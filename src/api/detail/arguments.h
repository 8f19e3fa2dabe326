#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "api/http.h"
#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

/// What a request asks for, read strictly. Every error is `invalid_argument` and names the parameter or member, its
/// value and what is allowed.
namespace wfo::api::detail {

inline constexpr std::size_t kPageMax = 1000;  // entries of one answer
inline constexpr std::size_t kPageDefault = 50;
inline constexpr std::size_t kPageBytesMax = 8 * 1024 * 1024;  // of an answer's payloads, about; one always fits
inline constexpr std::size_t kExternalIdMax = 255;             // characters of an id that a CRM gave
inline constexpr std::size_t kNoteMax = 1000;                  // characters of a reason or note

/// The tenant of X-Tenant-Id, or `otherwise` where there is none.
[[nodiscard]] Result<TenantId> read_tenant(const Request& request, const TenantId& otherwise);

// Parameters of the query.

/// Refuses parameters that are not in `allowed`, and those that come twice, but for `repeatable`.
[[nodiscard]] Result<void> allow_parameters(const Request& request, std::initializer_list<std::string_view> allowed,
                                            std::string_view repeatable = {});
/// A whole number of 1..kPageMax, or `otherwise` where there is none.
[[nodiscard]] Result<std::size_t> read_size(const Request& request, std::string_view name, std::size_t otherwise);
/// Parameter `limit`.
[[nodiscard]] inline Result<std::size_t> read_limit(const Request& request) {
  return read_size(request, "limit", kPageDefault);
}
/// A whole number from 0, or nothing.
[[nodiscard]] Result<std::optional<std::int64_t>> read_count(const Request& request, std::string_view name);
[[nodiscard]] Result<std::optional<Uuid>> read_uuid(const Request& request, std::string_view name);
[[nodiscard]] Result<std::optional<Timestamp>> read_time(const Request& request, std::string_view name);
[[nodiscard]] Result<std::optional<Date>> read_date(const Request& request, std::string_view name);
/// The name of a job or a schedule, or "" where there is none.
[[nodiscard]] Result<std::string> read_job_name(const Request& request, std::string_view name);
/// The opportunity that parameter `opportunityId` names, by uuid or by the id that the CRM gave.
[[nodiscard]] Result<std::optional<OpportunityId>> read_opportunity(const Request& request, const TenantId& tenant);
/// One of the names that `parse` knows, which are listed in `allowed`; or nothing.
template <class T>
[[nodiscard]] Result<std::optional<T>> read_choice(const Request& request, std::string_view name,
                                                   std::optional<T> (*parse)(std::string_view),
                                                   std::string_view allowed) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<T>();
  const auto value = parse(*text);
  if (!value) return fail(ErrorCode::invalid_argument, "parameter {} is '{}'; allowed: {}", name, *text, allowed);
  return value;
}

/// A place in a list, as text that clients hand back and do not interpret; its inverse reads parameter `cursor`.
[[nodiscard]] std::string to_cursor(const Uuid& place);
[[nodiscard]] Result<std::optional<Uuid>> read_cursor(const Request& request);
/// The error that parameter `cursor` is none that an answer gave.
[[nodiscard]] std::unexpected<Error> bad_cursor(const Request& request);

/// The uuid that stands in the path, or the error that there is no such `thing` (a text that is no uuid names none).
[[nodiscard]] Result<Uuid> read_path_id(const Request& request, std::string_view thing);

// Headers.

/// W3C Trace Context, version 00; "" where there is none, or what is not one: it is passed over, as the standard says.
[[nodiscard]] std::string read_traceparent(const Request& request);

// The body.

/// A JSON object without other members than those in `allowed`; an empty body is an empty object.
[[nodiscard]] Result<json::Document> read_object(const Request& request,
                                                 std::initializer_list<std::string_view> allowed);
/// The text in member `name`, 1 to `length_max` characters; nothing where it is missing or null.
[[nodiscard]] Result<std::optional<std::string>> read_text(json::Value object, std::string_view name,
                                                           std::size_t length_max);
/// The same for a member that must be there.
[[nodiscard]] Result<std::string> need_text(json::Value object, std::string_view name, std::size_t length_max);

/// The same with a limit in bytes, for what is judged by bytes elsewhere, too.
[[nodiscard]] Result<std::string> need_text_of_bytes(json::Value object, std::string_view name, std::size_t bytes_max);

/// The moment in member `name`, which must be there.
[[nodiscard]] Result<Timestamp> need_time(json::Value object, std::string_view name);

/// The array in member `name`, of 1 to `count_max` elements.
[[nodiscard]] Result<json::Value> need_array(json::Value object, std::string_view name, std::size_t count_max);

}  // namespace wfo::api::detail
