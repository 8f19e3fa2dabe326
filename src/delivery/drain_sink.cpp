#include "delivery/drain_sink.h"

#include <optional>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace wfo::delivery {
namespace {

std::string text_at(json::Value value, std::string_view key) {
  const auto found = value.find(key);
  return found ? found->string().value_or("") : "";
}

/// What AMQP's words mean (RabbitMQ: Dead Letter Exchanges).
std::string in_words(const std::string& reason) {
  if (reason == "rejected") return "rejected: a consumer refused it";
  if (reason == "expired") return "expired: it waited for longer than the queue, or its sender, allows";
  if (reason == "maxlen") return "maxlen: the queue was full";
  if (reason == "delivery_limit") return "delivery_limit: it was handed out too often";
  return reason;
}

}  // namespace

std::string reason_of_death(std::string_view headers, std::string_view queue) {
  const auto document = json::Document::parse(std::string(headers));
  if (!document) return "";
  const auto deaths = document->root().find("x-death");
  if (!deaths) return "";
  std::optional<json::Value> death;  // the newest stands first
  for (const auto one : deaths->elements()) {
    if (!death) death = one;
    if (text_at(one, "queue") != queue) continue;
    death = one;
    break;
  }
  if (!death) return "";
  const auto reason = text_at(*death, "reason");
  if (reason.empty()) return "";
  std::string said =
      fmt::format("the broker took it out of queue '{}': {}", text_at(*death, "queue"), in_words(reason));
  if (const auto count = death->find("count"); count && count->integer().value_or(1) > 1) {
    said += fmt::format(" ({} times)", *count->integer());
  }
  return said;
}

Result<void> DrainSink::commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) {
  const auto now = clock_.now();
  std::vector<store::DeadLetter> letters;
  std::vector<store::InboxKey> keys;
  std::vector<std::size_t> places;  // of those keys, in `batch`
  letters.reserve(batch.size());
  for (const auto& delivery : batch) {
    auto reason = reason_of_death(delivery.headers, queue_);
    if (reason.empty()) reason = fmt::format("the broker took it out of queue '{}' and does not say why", queue_);
    if (!delivery.event) reason += "; it could not be read either: " + delivery.unreadable_reason;
    if (delivery.event) {
      const auto& event = *delivery.event;
      keys.push_back({event.tenant(), event.id(), short_digest(event.bytes())});
      places.push_back(letters.size());
    }
    letters.push_back(dead_letter(delivery, queue_, reason, 1, ids_, now));
  }
  return store_.transact([&](store::Transaction& transaction) -> Result<void> {
    std::vector<bool> is_known(letters.size(), false);
    if (!keys.empty()) {
      // It took effect, or is a dead letter already and comes again because an acknowledgement was lost.
      TRY_ASSIGN(const auto verdicts, transaction.inbox().record(queue_, keys, now));
      for (std::size_t i = 0; i < keys.size(); ++i) {
        is_known[places[i]] = verdicts[i] == store::InboxVerdict::repeated;
      }
    }
    std::vector<store::DeadLetter> fresh;
    for (std::size_t i = 0; i < letters.size(); ++i) {
      if (!is_known[i]) fresh.push_back(letters[i]);
    }
    if (!fresh.empty()) TRY(transaction.dead_letters().insert(fresh));
    return consumer.settle(transaction, batch);
  });
}

/// Only where the store refuses it for a reason of its own; then it says so, too.
Result<void> DrainSink::set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                  int attempts) {
  const auto letter = dead_letter(delivery, queue_, reason, attempts, ids_, clock_.now());
  return store_.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(transaction.dead_letters().insert(letter));
    return consumer.settle(transaction, {&delivery, 1});
  });
}

Result<void> DrainSink::note_idle(bus::Consumer& consumer) {
  return store_.transact([&](store::Transaction& transaction) { return consumer.settle(transaction, {}); });
}

}  // namespace wfo::delivery
