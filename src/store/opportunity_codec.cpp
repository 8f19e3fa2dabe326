#include "store/opportunity_codec.h"

#include <array>

#include "store/text.h"

namespace wfo::store {
namespace {

struct TextField {
  std::string_view name;
  std::string Opportunity::*field;
};
constexpr std::array kTexts = {
    TextField{"externalId", &Opportunity::external_id},
    TextField{"name", &Opportunity::name},
    TextField{"stage", &Opportunity::stage},
    TextField{"currency", &Opportunity::currency},
    TextField{"product", &Opportunity::product},
    TextField{"account", &Opportunity::account},
    TextField{"owner", &Opportunity::owner},
    TextField{"competitorId", &Opportunity::competitor_id},
    TextField{"accountSector", &Opportunity::account_sector},
};

struct NumberField {
  std::string_view name;
  std::optional<double> Opportunity::*field;
  double max;
};
constexpr double kAmountMax = 1e15;
constexpr std::array kNumbers = {
    NumberField{"amount", &Opportunity::amount, kAmountMax},
    NumberField{"listPrice", &Opportunity::list_price, kAmountMax},
    NumberField{"probability", &Opportunity::crm_probability, 1.0},
    NumberField{"accountRevenue", &Opportunity::account_revenue, kAmountMax},
    NumberField{"accountEmployees", &Opportunity::account_employees, 1e9},
};

struct DateField {
  std::string_view name;
  std::optional<Date> Opportunity::*field;
};
constexpr std::array kDates = {
    DateField{"createdOn", &Opportunity::created_on},
    DateField{"stageEnteredOn", &Opportunity::stage_entered_on},
    DateField{"lastActivityOn", &Opportunity::last_activity_on},
    DateField{"closeOn", &Opportunity::close_on},
    DateField{"asOf", &Opportunity::as_of},
};

std::unexpected<Error> bad_field(const json::Member& member, std::string_view allowed) {
  return fail(ErrorCode::invalid_argument, "opportunity field {} is {}; allowed: {}", member.key.raw(),
              member.value.raw().substr(0, 80), allowed);
}

/// A date, or the day of a timestamp.
std::optional<Date> read_date(json::Value value) {
  const auto text = value.string();
  if (!text) return std::nullopt;
  if (const auto date = parse_date(*text)) return date;
  const auto time = parse_timestamp(*text);
  return time ? std::optional(std::chrono::floor<std::chrono::days>(*time)) : std::nullopt;
}

Result<bool> apply_member(const json::Member& member, Opportunity& opportunity) {
  const auto& [key, value] = member;
  const bool null = value.kind() == json::Kind::null;
  for (const auto& [field_name, field] : kTexts) {
    if (!key.equals(field_name)) continue;
    const auto text = value.string();
    if (!text && !null) return bad_field(member, "a string");
    opportunity.*field = text.value_or("");
    return true;
  }
  for (const auto& [field_name, field, max] : kNumbers) {
    if (!key.equals(field_name)) continue;
    const auto number = value.number();
    if (!null && (!number || *number < 0 || *number > max)) {
      return bad_field(member, fmt::format("a number from 0 to {:g}", max));
    }
    opportunity.*field = number;
    return true;
  }
  for (const auto& [field_name, field] : kDates) {
    if (!key.equals(field_name)) continue;
    const auto date = read_date(value);
    if (!date && !null) return bad_field(member, "a date like \"2026-03-01\"");
    opportunity.*field = date;
    return true;
  }
  if (key.equals("stageRegressed")) {
    const auto flag = value.boolean();
    if (!flag && !null) return bad_field(member, "true or false");
    opportunity.stage_regressed = flag.value_or(false);
    return true;
  }
  if (key.equals("state")) {
    const auto text = value.string();
    const auto state = text ? parse_stage_state(*text) : std::nullopt;
    if (!state) return bad_field(member, "\"open\", \"won\" or \"lost\"");
    opportunity.state = *state;
    return true;
  }
  return false;
}

constexpr std::string_view kChangedAt = "changedAt";

bool has_four_digits(std::chrono::year year) { return year >= std::chrono::year(0) && year <= std::chrono::year(9999); }

}  // namespace

Result<void> check_opportunity(const Opportunity& opportunity) {
  const auto refuse = [&](std::string_view field, std::string_view value, std::string_view allowed) {
    return fail(ErrorCode::invalid_argument, "opportunity {}: field {} is {}; allowed: {}", opportunity.id.to_string(),
                field, value, allowed);
  };
  for (const auto& [field_name, field] : kTexts) {
    if (!is_text(opportunity.*field)) return refuse(field_name, "not text", kTextAllowed);
  }
  for (const auto& [field_name, field, max] : kNumbers) {
    const auto& value = opportunity.*field;
    if (value && !(*value >= 0 && *value <= max)) {
      return refuse(field_name, fmt::format("{}", *value), fmt::format("a number from 0 to {:g}", max));
    }
  }
  for (const auto& [field_name, field] : kDates) {
    const auto& date = opportunity.*field;
    if (date && !has_four_digits(std::chrono::year_month_day(*date).year())) {
      return refuse(field_name, fmt::format("day {} since 1970", date->time_since_epoch().count()), "years 0 to 9999");
    }
  }
  if (const auto& time = opportunity.changed_at) {
    const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(*time));
    if (!has_four_digits(day.year())) {
      return refuse(kChangedAt, fmt::format("{} ms since 1970", time->time_since_epoch().count()), "years 0 to 9999");
    }
  }
  return {};
}

std::string encode_opportunity(const Opportunity& opportunity) {
  std::string text;
  text.reserve(384);
  json::Writer writer(text);
  writer.begin_object();
  for (const auto& [field_name, field] : kTexts) {
    if (!(opportunity.*field).empty()) writer.key(field_name).string(opportunity.*field);
  }
  for (const auto& [field_name, field, max] : kNumbers) {
    if (const auto& value = opportunity.*field) writer.key(field_name).number(*value);
  }
  for (const auto& [field_name, field] : kDates) {
    if (const auto& date = opportunity.*field) writer.key(field_name).string(format_date(*date));
  }
  if (opportunity.stage_regressed) writer.key("stageRegressed").boolean(true);
  if (opportunity.changed_at) writer.key(kChangedAt).timestamp(*opportunity.changed_at);
  writer.end_object();
  return text;
}

Result<void> decode_opportunity(std::string_view text, Opportunity& opportunity) {
  const auto document = json::Document::parse(std::string(text));
  if (!document) return fail(ErrorCode::corruption, "stored opportunity: {}", document.error().message);
  for (const json::Member member : document->root().members()) {
    if (member.key.equals(kChangedAt)) {
      opportunity.changed_at = member.value.timestamp();
      if (opportunity.changed_at) continue;
    }
    const auto applied = apply_member(member, opportunity);
    if (!applied || !*applied) {
      return fail(ErrorCode::corruption, "stored opportunity {}: bad field {}", opportunity.id.to_string(),
                  member.key.raw());
    }
  }
  return {};
}

StageState state_of_stage(std::string_view stage) {
  std::string letters;
  for (const char c : stage) {
    if (c >= 'A' && c <= 'Z') letters += static_cast<char>(c - 'A' + 'a');
    if (c >= 'a' && c <= 'z') letters += c;
  }
  if (letters == "won" || letters == "closedwon") return StageState::won;
  if (letters == "lost" || letters == "closedlost") return StageState::lost;
  return StageState::open;
}

Result<void> apply_changes(json::Value changes, Opportunity& opportunity) {
  if (!changes.is_object()) {
    return fail(ErrorCode::invalid_argument, "the changes of an opportunity are {}; allowed: an object",
                changes.raw().substr(0, 80));
  }
  Opportunity changed = opportunity;
  changed.as_of.reset();
  for (const json::Member member : changes.members()) TRY(apply_member(member, changed));
  if (changes.find("stage") && !changes.find("state")) changed.state = state_of_stage(changed.stage);
  opportunity = std::move(changed);
  return {};
}

}  // namespace wfo::store
