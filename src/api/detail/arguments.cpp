#include "api/detail/arguments.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "api/detail/uri.h"
#include "base/digest.h"
#include "schedule/job_spec.h"

namespace wfo::api::detail {
namespace {

std::string listed(std::initializer_list<std::string_view> names) {
  return names.size() == 0 ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

bool contains(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// Unicode characters of UTF-8 text: all bytes but those that continue one.
std::size_t length_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::unexpected<Error> bad_parameter(std::string_view name, std::string_view value, std::string_view allowed) {
  return fail(ErrorCode::invalid_argument, "parameter {} is '{}'; allowed: {}", name, shown(value), allowed);
}

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

Result<TenantId> read_tenant(const Request& request, const TenantId& otherwise) {
  const auto text = request.headers.find("X-Tenant-Id");
  if (!text) return otherwise;
  const auto tenant = TenantId::parse(*text);
  if (!tenant) return fail(ErrorCode::invalid_argument, "header X-Tenant-Id is '{}'; allowed: a uuid", shown(*text));
  return *tenant;
}

Result<void> allow_parameters(const Request& request, std::initializer_list<std::string_view> allowed,
                              std::string_view repeatable) {
  std::vector<std::string_view> seen;
  for (const auto& [name, value] : request.query) {
    if (!contains(allowed, name)) {
      return fail(ErrorCode::invalid_argument, "parameter {} is not known here; allowed: {}", shown(name),
                  listed(allowed));
    }
    if (name != repeatable && std::ranges::find(seen, name) != seen.end()) {
      return fail(ErrorCode::invalid_argument, "parameter {} comes twice; allowed: once", name);
    }
    seen.push_back(name);
  }
  return {};
}

Result<std::size_t> read_size(const Request& request, std::string_view name, std::size_t otherwise) {
  const auto text = request.query_parameter(name);
  if (!text) return otherwise;
  const auto size = whole_number<std::size_t>(*text);
  if (!size || *size < 1 || *size > kPageMax) return bad_parameter(name, *text, fmt::format("1..{}", kPageMax));
  return *size;
}

Result<std::optional<std::int64_t>> read_count(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<std::int64_t>();
  const auto count = whole_number<std::int64_t>(*text);
  if (!count || *count < 0) return bad_parameter(name, *text, "a whole number from 0");
  return count;
}

Result<std::optional<Uuid>> read_uuid(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<Uuid>();
  const auto id = Uuid::parse(*text);
  if (!id) return bad_parameter(name, *text, "a uuid");
  return id;
}

Result<std::optional<Timestamp>> read_time(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<Timestamp>();
  const auto time = parse_timestamp(*text);
  if (!time) return bad_parameter(name, *text, "an RFC 3339 time like 2026-03-01T09:30:00Z");
  return time;
}

Result<std::optional<Date>> read_date(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<Date>();
  const auto date = parse_date(*text);
  if (!date) return bad_parameter(name, *text, "a date like 2026-03-01");
  return date;
}

Result<std::string> read_job_name(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::string();
  if (!schedule::is_job_name(*text)) return bad_parameter(name, *text, schedule::kJobNameAllowed);
  return std::string(*text);
}

Result<std::optional<OpportunityId>> read_opportunity(const Request& request, const TenantId& tenant) {
  const auto text = request.query_parameter("opportunityId");
  if (!text) return std::optional<OpportunityId>();
  if (text->empty() || length_of(*text) > kExternalIdMax) {
    return bad_parameter("opportunityId", *text, fmt::format("1..{} characters", kExternalIdMax));
  }
  return std::optional(opportunity_id(tenant, *text));
}

std::string to_cursor(const Uuid& place) {
  return to_hex(std::string_view(reinterpret_cast<const char*>(place.bytes.data()), place.bytes.size()));
}

Result<std::optional<Uuid>> read_cursor(const Request& request) {
  const auto text = request.query_parameter("cursor");
  if (!text) return std::optional<Uuid>();
  std::optional<Uuid> place;
  if (text->size() == 32) {
    place = Uuid::parse(fmt::format("{}-{}-{}-{}-{}", text->substr(0, 8), text->substr(8, 4), text->substr(12, 4),
                                    text->substr(16, 4), text->substr(20)));
  }
  if (!place) return bad_cursor(request);
  return place;
}

std::unexpected<Error> bad_cursor(const Request& request) {
  return bad_parameter("cursor", request.query_parameter("cursor").value_or(""), "cursor of the page before");
}

Result<Uuid> read_path_id(const Request& request, std::string_view thing) {
  const auto& text = request.path_parameter("id");
  const auto id = Uuid::parse(text);
  if (!id) return fail(ErrorCode::not_found, "there is no {} '{}'; their ids are uuids", thing, shown(text));
  return *id;
}

std::string read_traceparent(const Request& request) {
  const std::string_view text = request.headers.find("traceparent").value_or("");
  constexpr std::string_view kForm = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
  const auto fits = [](char given, char wanted) {
    return wanted == 'x' ? (given >= '0' && given <= '9') || (given >= 'a' && given <= 'f') : given == wanted;
  };
  return std::ranges::equal(text, kForm, fits) ? std::string(text) : "";
}

Result<json::Document> read_object(const Request& request, std::initializer_list<std::string_view> allowed) {
  auto document = json::Document::parse(request.body.empty() ? "{}" : request.body);
  if (!document) return std::unexpected(with_context(std::move(document).error(), "the body"));
  if (!document->root().is_object()) {
    return fail(ErrorCode::invalid_argument, "the body is of kind {}; allowed: an object",
                json::name(document->root().kind()));
  }
  for (const json::Member member : document->root().members()) {
    const auto name = member.key.string().value_or("");
    if (!contains(allowed, name)) {
      return fail(ErrorCode::invalid_argument, "member '{}' of the body is not known here; allowed: {}", shown(name),
                  listed(allowed));
    }
  }
  return document;
}

Result<std::optional<std::string>> read_text(json::Value object, std::string_view name, std::size_t length_max) {
  const auto member = object.find(name);
  if (!member || member->kind() == json::Kind::null) return std::optional<std::string>();
  auto text = member->string();
  if (!text || text->empty() || length_of(*text) > length_max) {
    return fail(ErrorCode::invalid_argument, "member '{}' of the body is {}; allowed: a text of 1..{} characters", name,
                shown(member->raw()), length_max);
  }
  return text;
}

Result<std::string> need_text(json::Value object, std::string_view name, std::size_t length_max) {
  TRY_ASSIGN(auto text, read_text(object, name, length_max));
  if (!text) {
    return fail(ErrorCode::invalid_argument,
                "member '{}' of the body is missing; it must be a text of 1..{} characters", name, length_max);
  }
  return *std::move(text);
}

Result<std::string> need_text_of_bytes(json::Value object, std::string_view name, std::size_t bytes_max) {
  const auto member = object.find(name);
  auto text = member ? member->string() : std::nullopt;
  if (!text || text->empty() || text->size() > bytes_max) {
    return fail(ErrorCode::invalid_argument, "member '{}' of the body is {}; allowed: a text of 1..{} bytes", name,
                member ? shown(member->raw()) : "missing", bytes_max);
  }
  return *std::move(text);
}

Result<Timestamp> need_time(json::Value object, std::string_view name) {
  const auto member = object.find(name);
  const auto time = member ? member->timestamp() : std::nullopt;
  if (!time) {
    return fail(ErrorCode::invalid_argument,
                "member '{}' of the body is {}; allowed: an RFC 3339 time like 2026-03-01T09:30:00Z", name,
                member ? shown(member->raw()) : "missing");
  }
  return *time;
}

Result<json::Value> need_array(json::Value object, std::string_view name, std::size_t count_max) {
  const auto member = object.find(name);
  if (!member || !member->is_array() || member->size() < 1 || member->size() > count_max) {
    return fail(
        ErrorCode::invalid_argument, "member '{}' of the body is {}; allowed: an array of 1..{}", name,
        member ? fmt::format("of kind {} with {} elements", json::name(member->kind()), member->size()) : "missing",
        count_max);
  }
  return *member;
}

}  // namespace wfo::api::detail
