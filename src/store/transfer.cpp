#include "store/transfer.h"

#include "base/digest.h"

namespace wfo::store {
namespace {

using enum CellKind;

constexpr TransferTable kTables[] = {
    TransferTable::definitions,
    TransferTable::documents,
    TransferTable::opportunities,
    TransferTable::runs,
    TransferTable::results,
    TransferTable::triggers,
    TransferTable::inbox,
    TransferTable::dead_letters,
    TransferTable::log,
    TransferTable::outbox,
    TransferTable::schedules,
    TransferTable::fires,
    TransferTable::job_runs,
    TransferTable::risk_snapshots,
    TransferTable::outcomes,
    TransferTable::ledger_tenants,
    TransferTable::ledger_event_types,
    TransferTable::ledger_entries,
    TransferTable::ledger_blocks,
    TransferTable::ledger_quarantine,
};

constexpr TransferColumn kDefinitions[] = {{"definition", integer}, {"name", text}, {"version", text}, {"text", text}};
constexpr TransferColumn kDocuments[] = {{"tenant", uuid}, {"name", text}, {"json", text}};
constexpr TransferColumn kOpportunities[] = {{"tenant", uuid}, {"id", uuid}, {"state", integer}, {"fields", text}};
constexpr TransferColumn kRuns[] = {{"id", uuid},
                                    {"tenant", uuid},
                                    {"opportunity", uuid},
                                    {"status", integer},
                                    {"exclusive", integer},
                                    {"wake_up_at", integer},
                                    {"version", integer},
                                    {"attempt", integer},
                                    {"created_at", integer},
                                    {"updated_at", integer},
                                    {"deadline", integer},
                                    {"external_id", text},
                                    {"definition_name", text},
                                    {"definition_version", text},
                                    {"correlation_id", text},
                                    {"trigger_type", text},
                                    {"trigger_id", uuid},
                                    {"error", text},
                                    {"failed_step", text},
                                    {"steps", text}};
constexpr TransferColumn kResults[] = {{"run", uuid}, {"step", integer}, {"result", bytes}};
constexpr TransferColumn kTriggers[] = {{"noted", integer},       {"tenant", uuid},          {"id", uuid},
                                        {"outcome", integer},     {"workflow", uuid},        {"follow_up", uuid},
                                        {"received_at", integer}, {"opportunity", uuid},     {"type", text},
                                        {"external_id", text},    {"definition_name", text}, {"correlation_id", text},
                                        {"reason", text}};
constexpr TransferColumn kInbox[] = {
    {"consumer", text}, {"tenant", uuid}, {"event", uuid}, {"digest", integer}, {"received_at", integer}};
constexpr TransferColumn kDeadLetters[] = {{"id", uuid},        {"tenant", uuid},      {"queue", text},
                                           {"type", text},      {"headers", text},     {"bytes", bytes},
                                           {"reason", text},    {"attempts", integer}, {"created_at", integer},
                                           {"status", integer}, {"replayed_as", uuid}, {"note", text}};
constexpr TransferColumn kLog[] = {{"sequence", integer}, {"committed_at", integer}, {"type", text},
                                   {"event", bytes},      {"event_id", uuid},        {"event_time", integer}};
constexpr TransferColumn kOutbox[] = {
    {"sequence", integer}, {"run", uuid}, {"returns", integer}, {"parked_until", integer}};
constexpr TransferColumn kSchedules[] = {{"name", text},          {"origin", integer},     {"definition", text},
                                         {"paused", integer},     {"pause_note", text},    {"next_at", integer},
                                         {"wake_up_at", integer}, {"created_at", integer}, {"updated_at", integer},
                                         {"version", integer}};
constexpr TransferColumn kFires[] = {
    {"fire", integer},    {"schedule", text}, {"first_at", integer}, {"last_at", integer},    {"count", integer},
    {"outcome", integer}, {"cause", integer}, {"rule", integer},     {"decided_at", integer}, {"run", uuid}};
constexpr TransferColumn kJobRuns[] = {{"id", uuid},
                                       {"job", text},
                                       {"status", integer},
                                       {"triggered_by", integer},
                                       {"schedule", text},
                                       {"scheduled_for", integer},
                                       {"trigger_id", uuid},
                                       {"due_at", integer},
                                       {"deadline", integer},
                                       {"version", integer},
                                       {"created_at", integer},
                                       {"started_at", integer},
                                       {"ended_at", integer},
                                       {"attempt", integer},
                                       {"takeovers", integer},
                                       {"progress_done", integer},
                                       {"progress_total", integer},
                                       {"progress_note", text},
                                       {"correlation_id", text},
                                       {"holder", text},
                                       {"metadata", text},
                                       {"checkpoint", text},
                                       {"counts", text},
                                       {"error", text}};
constexpr TransferColumn kRiskSnapshots[] = {{"tenant", uuid},          {"opportunity", uuid}, {"day", integer},
                                             {"evaluated_at", integer}, {"event", uuid},       {"workflow", uuid},
                                             {"fields", text}};
constexpr TransferColumn kOutcomes[] = {
    {"tenant", uuid}, {"opportunity", uuid}, {"close_on", integer}, {"event", uuid}, {"recorded_at", integer}};
constexpr TransferColumn kLedgerTenants[] = {{"tenant", integer}, {"id", uuid}, {"size", integer}};
constexpr TransferColumn kLedgerEventTypes[] = {{"type", integer}, {"name", text}};
constexpr TransferColumn kLedgerEntries[] = {{"tenant", integer}, {"index", integer},     {"event_id", uuid},
                                             {"type", integer},   {"timestamp", integer}, {"received_at", integer},
                                             {"workflow", uuid},  {"opportunity", uuid},  {"bytes", bytes}};
constexpr TransferColumn kLedgerBlocks[] = {
    {"tenant", integer}, {"block", integer}, {"first", integer}, {"last", integer}, {"types", integer}};
constexpr TransferColumn kLedgerQuarantine[] = {{"message", integer}, {"tenant", uuid},         {"event_id", uuid},
                                                {"reason", text},     {"received_at", integer}, {"bytes", bytes}};

void append_number(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(static_cast<std::uint8_t>(value >> shift));
}

void append_cell(std::string& out, const TransferCell& cell) {
  if (const auto* number = std::get_if<std::int64_t>(&cell)) {
    out += '\1';
    append_number(out, static_cast<std::uint64_t>(*number));
  } else if (const auto* content = std::get_if<std::string>(&cell)) {
    out += '\2';
    append_number(out, content->size());
    out += *content;
  } else {
    out += '\0';
  }
}

}  // namespace

std::span<const TransferTable> all_transfer_tables() { return kTables; }

std::string_view name(TransferTable table) {
  switch (table) {
    case TransferTable::definitions:
      return "definitions";
    case TransferTable::documents:
      return "documents";
    case TransferTable::opportunities:
      return "opportunities";
    case TransferTable::runs:
      return "runs";
    case TransferTable::results:
      return "results";
    case TransferTable::triggers:
      return "triggers";
    case TransferTable::inbox:
      return "inbox";
    case TransferTable::dead_letters:
      return "dead_letters";
    case TransferTable::log:
      return "log";
    case TransferTable::outbox:
      return "outbox";
    case TransferTable::schedules:
      return "schedules";
    case TransferTable::fires:
      return "fires";
    case TransferTable::job_runs:
      return "job_runs";
    case TransferTable::risk_snapshots:
      return "risk_snapshots";
    case TransferTable::outcomes:
      return "outcomes";
    case TransferTable::ledger_tenants:
      return "ledger tenants";
    case TransferTable::ledger_event_types:
      return "ledger event_types";
    case TransferTable::ledger_entries:
      return "ledger entries";
    case TransferTable::ledger_blocks:
      return "ledger blocks";
    case TransferTable::ledger_quarantine:
      return "ledger quarantine";
  }
  return "unknown";
}

bool is_of_ledger(TransferTable table) { return table >= TransferTable::ledger_tenants; }

std::span<const TransferColumn> columns(TransferTable table) {
  switch (table) {
    case TransferTable::definitions:
      return kDefinitions;
    case TransferTable::documents:
      return kDocuments;
    case TransferTable::opportunities:
      return kOpportunities;
    case TransferTable::runs:
      return kRuns;
    case TransferTable::results:
      return kResults;
    case TransferTable::triggers:
      return kTriggers;
    case TransferTable::inbox:
      return kInbox;
    case TransferTable::dead_letters:
      return kDeadLetters;
    case TransferTable::log:
      return kLog;
    case TransferTable::outbox:
      return kOutbox;
    case TransferTable::schedules:
      return kSchedules;
    case TransferTable::fires:
      return kFires;
    case TransferTable::job_runs:
      return kJobRuns;
    case TransferTable::risk_snapshots:
      return kRiskSnapshots;
    case TransferTable::outcomes:
      return kOutcomes;
    case TransferTable::ledger_tenants:
      return kLedgerTenants;
    case TransferTable::ledger_event_types:
      return kLedgerEventTypes;
    case TransferTable::ledger_entries:
      return kLedgerEntries;
    case TransferTable::ledger_blocks:
      return kLedgerBlocks;
    case TransferTable::ledger_quarantine:
      return kLedgerQuarantine;
  }
  return {};
}

void TransferDigest::add(const TransferRow& row) {
  buffer_.clear();
  for (const TransferCell& cell : row) append_cell(buffer_, cell);
  const Sha256 digest = sha256(buffer_);
  std::uint64_t carry = 0;
  for (std::size_t limb = 0; limb < sum_.size(); ++limb) {
    std::uint64_t addend = 0;
    for (std::size_t i = 0; i < 8; ++i) addend = addend << 8 | digest[8 * (sum_.size() - 1 - limb) + i];
    const std::uint64_t partial = sum_[limb] + addend;
    const std::uint64_t total = partial + carry;
    carry = static_cast<std::uint64_t>(partial < addend) + static_cast<std::uint64_t>(total < partial);
    sum_[limb] = total;
  }
  ++rows_;
}

std::string TransferDigest::to_hex() const {
  std::string number;
  for (auto limb = sum_.rbegin(); limb != sum_.rend(); ++limb) append_number(number, *limb);
  return wfo::to_hex(number);
}

bool operator==(const TransferDigest& a, const TransferDigest& b) { return a.rows_ == b.rows_ && a.sum_ == b.sum_; }

}  // namespace wfo::store
