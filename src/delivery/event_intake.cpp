#include "delivery/event_intake.h"

#include "base/digest.h"

namespace wfo::delivery {
namespace {

/// The id of a text that could not be read as an event, so that its sender finds it again.
std::optional<EventId> id_in(const std::string& text) {
  const auto document = json::Document::parse(text);
  const auto id = document ? document->root().find("id") : std::nullopt;
  const auto uuid = id ? id->uuid() : std::nullopt;
  return uuid ? std::optional(EventId(*uuid)) : std::nullopt;
}

IntakeAnswer judge(store::InboxVerdict verdict, const events::Event& event) {
  switch (verdict) {
    case store::InboxVerdict::fresh:
      return {IntakeStatus::accepted, event.id(), std::nullopt};
    case store::InboxVerdict::repeated:
      return {IntakeStatus::duplicate, event.id(), std::nullopt};
    case store::InboxVerdict::forged:
      break;
  }
  return {IntakeStatus::refused, event.id(),
          Error{ErrorCode::conflict, fmt::format("event {} came before with other bytes; a new event needs a new id",
                                                 event.id().to_string())}};
}

}  // namespace

std::string_view why_not_taken(std::string_view type) {
  for (const auto& own : kOwnTypes) {
    if (own.type == type || (own.type.ends_with('.') && type.starts_with(own.type))) return own.reason;
  }
  return "";
}

std::string_view name(IntakeStatus status) {
  switch (status) {
    case IntakeStatus::accepted:
      return "accepted";
    case IntakeStatus::duplicate:
      return "duplicate";
    case IntakeStatus::refused:
      return "refused";
  }
  return "unknown";
}

EventIntake::EventIntake(store::Store& store, const events::Contracts& contracts, const Clock& clock, Metrics& metrics)
    : store_(store), contracts_(contracts), clock_(clock) {
  for (const auto status : {IntakeStatus::accepted, IntakeStatus::duplicate, IntakeStatus::refused}) {
    counted_[static_cast<std::size_t>(status)] = &metrics.counter(
        "events_handed_in_total", "Events that came in without a broker", {{"status", std::string(name(status))}});
  }
}

Result<events::EventPtr> EventIntake::read(const TenantId& tenant, const std::string& text, Timestamp now) const {
  TRY_ASSIGN(events::EventPtr event, contracts_.read(text, now));
  if (const auto reason = why_not_taken(event->type()); !reason.empty()) {
    return fail(ErrorCode::invalid_argument, "events of type {} are not taken: {}", event->type(), reason);
  }
  if (event->tenant() != tenant) {
    return fail(ErrorCode::invalid_argument, "the event is of tenant {}, the request of tenant {}; allowed: the same",
                event->tenant().to_string(), tenant.to_string());
  }
  return event;
}

Result<std::vector<IntakeAnswer>> EventIntake::submit(const TenantId& tenant, std::span<const std::string> texts) {
  TRY(store_.admission());
  const Timestamp now = clock_.now();
  std::vector<IntakeAnswer> answers(texts.size());
  std::vector<events::EventPtr> readable;
  std::vector<std::size_t> places;  // of the readable ones, in `answers`
  std::vector<store::InboxKey> keys;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto event = read(tenant, texts[i], now);
    if (!event) {
      answers[i] = {IntakeStatus::refused, id_in(texts[i]), std::move(event).error()};
      continue;
    }
    keys.push_back({tenant, (*event)->id(), short_digest(texts[i])});
    readable.push_back(*std::move(event));
    places.push_back(i);
  }
  if (!readable.empty()) {
    TRY(store_.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(const auto verdicts, transaction.inbox().record(kConsumer, keys, now));
      std::vector<events::EventPtr> fresh;
      for (std::size_t i = 0; i < readable.size(); ++i) {
        answers[places[i]] = judge(verdicts[i], *readable[i]);
        if (verdicts[i] == store::InboxVerdict::fresh) fresh.push_back(readable[i]);
      }
      if (fresh.empty()) return {};
      return transaction.log().append(fresh);
    }));
  }
  for (const auto& answer : answers) counted_[static_cast<std::size_t>(answer.status)]->add();
  return answers;
}

}  // namespace wfo::delivery
