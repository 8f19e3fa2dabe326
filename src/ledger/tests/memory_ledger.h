#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/ledger_store.h"

namespace wfo::ledger::fakes {

/// A ledger in memory that does what the interface says.
class MemoryLedger final : public store::LedgerStore {
 public:
  Result<std::vector<store::LedgerOutcome>> append(std::span<const store::LedgerRecord> records,
                                                   std::span<const store::QuarantinedMessage> unreadable,
                                                   std::string_view consumer, store::Sequence position,
                                                   std::optional<store::Epoch> with_epoch = std::nullopt) override {
    ++appends;
    if (error) return std::unexpected(*error);
    if (with_epoch && *with_epoch != epoch) return fail(ErrorCode::conflict, "epoch {} is over", *with_epoch);
    for (const auto& record : records) {
      if (refused && record.event->id() == *refused) return fail(ErrorCode::internal, "refused");
    }
    std::vector<store::LedgerOutcome> outcomes;
    for (const auto& record : records) outcomes.push_back(add(record));
    for (auto message : unreadable) quarantine(std::move(message));
    positions[std::string(consumer)] = position;
    return outcomes;
  }
  /// Whoever asks gets it; a test that moves `epoch` on has taken it over.
  Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds) override {
    if (held_by_another) return std::nullopt;
    return store::Lease{"append", std::string(holder), epoch, Timestamp::max()};
  }
  Result<void> release(store::Epoch) override { return {}; }
  Result<store::Sequence> position(std::string_view consumer) override {
    const auto known = positions.find(std::string(consumer));
    return known == positions.end() ? 0 : known->second;
  }
  Result<store::LedgerIndex> size(const TenantId& tenant) override {
    return static_cast<store::LedgerIndex>(entries[tenant].size());
  }
  Result<std::vector<TenantId>> tenants() override {
    std::vector<TenantId> all;
    for (const auto& [tenant, list] : entries) all.push_back(tenant);
    return all;
  }
  Result<std::vector<store::LedgerEntry>> search(const store::LedgerQuery& query) override {
    largest_page = std::max(largest_page, query.limit);
    if (at_search) at_search();
    std::vector<store::LedgerEntry> found;
    std::size_t bytes = 0;
    for (const auto& entry : entries[query.tenant]) {
      if (found.size() == query.limit) break;
      if (entry.index <= query.after) continue;
      if (!query.type.empty() && entry.type != query.type) continue;
      if (query.workflow && entry.workflow != query.workflow) continue;
      if (query.opportunity && entry.opportunity != query.opportunity) continue;
      if ((query.from && entry.timestamp < *query.from) || (query.to && entry.timestamp >= *query.to)) continue;
      bytes += entry.bytes.size();
      if (!found.empty() && bytes > query.bytes_max) break;
      found.push_back(entry);
    }
    return found;
  }
  Result<std::vector<store::QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant, std::int64_t after,
                                                             std::size_t limit) override {
    std::vector<store::QuarantinedMessage> found;
    for (const auto& message : in_quarantine) {
      if (message.id > after && (!tenant || message.tenant == tenant) && found.size() < limit) found.push_back(message);
    }
    return found;
  }

  std::map<TenantId, std::vector<store::LedgerEntry>> entries;
  std::vector<store::QuarantinedMessage> in_quarantine;
  std::map<std::string, store::Sequence> positions;
  std::optional<Error> error;      // the answer to every append, while set
  std::optional<EventId> refused;  // an event that no append takes
  std::function<void()> at_search;
  std::size_t largest_page = 0;
  int appends = 0;
  store::Epoch epoch = 1;
  bool held_by_another = false;

 private:
  store::LedgerOutcome add(const store::LedgerRecord& record) {
    const auto& event = *record.event;
    auto& list = entries[event.tenant()];
    for (const auto& entry : list) {
      if (entry.event_id != event.id()) continue;
      if (entry.bytes == event.bytes()) return store::LedgerOutcome::repeated;
      quarantine({.tenant = event.tenant(),
                  .event_id = event.id(),
                  .reason = "other bytes under a known id",
                  .received_at = record.received_at,
                  .bytes = event.bytes()});
      return store::LedgerOutcome::forged;
    }
    list.push_back({event.tenant(), static_cast<store::LedgerIndex>(list.size()), event.id(), event.type(),
                    event.timestamp(), record.received_at, record.workflow, record.opportunity, event.bytes()});
    return store::LedgerOutcome::appended;
  }
  void quarantine(store::QuarantinedMessage message) {
    message.id = static_cast<std::int64_t>(in_quarantine.size()) + 1;
    in_quarantine.push_back(std::move(message));
  }
};

}  // namespace wfo::ledger::fakes
