#include "jobs/risk_snapshot_backfill.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "events/types.h"
#include "jobs/detail/metadata.h"
#include "jobs/detail/risk_snapshot.h"

namespace wfo::jobs {

namespace {

using std::chrono::days;

constexpr days kDefaultDays{7};
// A page of the ledger holds whole events, of which a snapshot keeps a fraction: so pages are small, and smaller where
// the events are large.
constexpr std::size_t kPageRowsFirst = 64;
constexpr std::size_t kPageRowsMin = 16;
constexpr std::size_t kPageRowsMax = 2'000;
constexpr std::size_t kPageBytes = std::size_t{2} << 20;
// What a slice may look at before it says how far it is, where there is little to find.
constexpr std::size_t kSlicePages = 1'000;
constexpr std::size_t kSliceEntriesPerRow = 8;
constexpr std::size_t kSliceBytesMax = std::size_t{16} << 20;  // of snapshots

struct Range {
  std::optional<Timestamp> from;
  std::optional<Timestamp> to;
};

Result<Range> range_of(json::Value metadata) {
  Range range;
  TRY_ASSIGN(range.from, time_member(metadata, "from"));
  TRY_ASSIGN(range.to, time_member(metadata, "to"));
  return range;
}

Result<void> check_order(Timestamp from, Timestamp to) {
  if (from < to) return {};
  return fail(ErrorCode::invalid_argument,
              "metadata: from is {} and to is {}; allowed: from before to (to itself is not part of it)",
              format_timestamp(from), format_timestamp(to));
}

Result<std::optional<TenantId>> tenant_of(json::Value metadata) {
  const auto member = metadata.find("tenantId");
  if (!member || member->kind() == json::Kind::null) return std::nullopt;
  if (const auto id = member->uuid()) return TenantId(*id);
  return fail(ErrorCode::invalid_argument, "metadata.tenantId is {}; allowed: a tenant's uuid", shown(*member));
}

/// Where the next slice goes on. The range is fixed by the first one, so that all see the same.
struct Checkpoint {
  Timestamp from;
  Timestamp to;
  TenantId tenant;  // the one to read; those with smaller ids are done. Nil: the first
  store::LedgerIndex after = -1;
};

std::string encode(const Checkpoint& checkpoint) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object().key("from").timestamp(checkpoint.from).key("to").timestamp(checkpoint.to);
  writer.key("tenant").uuid(checkpoint.tenant).key("after").number(checkpoint.after).end_object();
  return out;
}

Result<Checkpoint> decode(const std::string& text) {
  const auto document = json::Document::parse(text);
  const auto member = [&](std::string_view key) { return document ? document->root().find(key) : std::nullopt; };
  const auto from = member("from");
  const auto to = member("to");
  const auto tenant = member("tenant");
  const auto after = member("after");
  if (!from || !from->timestamp() || !to || !to->timestamp() || !tenant || !tenant->uuid() || !after ||
      !after->integer()) {
    return fail(ErrorCode::corruption, "checkpoint {} is none of {}", text, RiskSnapshotBackfill::kName);
  }
  return Checkpoint{*from->timestamp(), *to->timestamp(), TenantId(*tenant->uuid()), *after->integer()};
}

Result<Checkpoint> first_checkpoint(const schedule::JobRun& run, json::Value metadata) {
  TRY_ASSIGN(const Range wanted, range_of(metadata));
  const Timestamp to = wanted.to.value_or(run.scheduled_for.value_or(run.created_at));
  const Timestamp from = wanted.from.value_or(std::chrono::floor<days>(to - kDefaultDays));
  TRY(check_order(from, to));
  return Checkpoint{.from = from, .to = to, .tenant = {}, .after = -1};
}

/// What a slice has found.
struct Found {
  std::vector<store::RiskSnapshot> snapshots;
  std::int64_t evaluations = 0;
  std::int64_t unusable = 0;
  std::size_t bytes = 0;
  std::size_t entries = 0;
  std::size_t pages = 0;
  Timestamp at;  // of the last entry

  void add(store::LedgerEntry&& entry) {
    ++entries;
    at = entry.timestamp;
    Evaluation evaluation = evaluation_of(std::move(entry));
    if (!evaluation.is_risk_analysis) return;
    ++evaluations;
    if (!evaluation.snapshot) {
      ++unusable;
      return;
    }
    bytes += evaluation.snapshot->fields.size();
    snapshots.push_back(*std::move(evaluation.snapshot));
  }
  [[nodiscard]] bool is_enough(std::size_t rows) const {
    return static_cast<std::size_t>(evaluations) >= rows || bytes >= kSliceBytesMax ||
           entries >= rows * kSliceEntriesPerRow || pages >= kSlicePages;
  }
};

}  // namespace

Result<void> RiskSnapshotBackfill::check(json::Value metadata) const {
  TRY_ASSIGN(const Range range, range_of(metadata));
  if (range.from && range.to) TRY(check_order(*range.from, *range.to));
  TRY(tenant_of(metadata));
  return {};
}

Result<Slice> RiskSnapshotBackfill::next(const schedule::JobRun& run, std::stop_token stop) {
  TRY_ASSIGN(const auto document, json::Document::parse(run.metadata));
  const json::Value metadata = document.root();
  TRY_ASSIGN(Checkpoint here, run.checkpoint.empty() ? first_checkpoint(run, metadata) : decode(run.checkpoint));
  TRY_ASSIGN(const auto only, tenant_of(metadata));
  std::vector<TenantId> tenants;
  if (only) {
    tenants.push_back(*only);
  } else {
    TRY_ASSIGN(tenants, ledger_.tenants());
    std::ranges::sort(tenants);
  }
  auto tenant = std::ranges::lower_bound(tenants, here.tenant);
  if (tenant != tenants.end() && *tenant != here.tenant) here.after = -1;

  Found found;
  found.at = here.from;
  std::size_t page_rows = kPageRowsFirst;
  while (tenant != tenants.end() && !found.is_enough(config_.slice_rows)) {
    if (stop.stop_requested()) return fail(ErrorCode::unavailable, "stopped");
    ++found.pages;
    const std::size_t limit = std::min(page_rows, config_.slice_rows - static_cast<std::size_t>(found.evaluations));
    TRY_ASSIGN(auto page, ledger_.search({.tenant = *tenant,
                                          .type = std::string(events::kStepCompleted),
                                          .from = here.from,
                                          .to = here.to,
                                          .after = here.after,
                                          .limit = limit}));
    std::size_t page_bytes = 1;
    for (store::LedgerEntry& entry : page) {
      here.after = entry.index;
      page_bytes += entry.bytes.size();
      found.add(std::move(entry));
    }
    if (page.size() < limit) {
      ++tenant;
      here.after = -1;
    } else {
      page_rows = std::clamp(page.size() * kPageBytes / page_bytes, kPageRowsMin, kPageRowsMax);
    }
  }

  Slice slice;
  slice.is_last = tenant == tenants.end();
  if (!slice.is_last) here.tenant = *tenant;
  slice.checkpoint = encode(here);
  const auto counted = run.counts.find("evaluations");
  slice.progress.done = (counted == run.counts.end() ? 0 : counted->second) + found.evaluations;
  if (slice.is_last) {
    slice.progress.total = slice.progress.done;
    slice.progress.note = fmt::format("{} tenant{}, {} to {}", tenants.size(), tenants.size() == 1 ? "" : "s",
                                      format_timestamp(here.from), format_timestamp(here.to));
  } else {
    slice.progress.note =
        fmt::format("tenant {} of {}, at {}", tenant - tenants.begin() + 1, tenants.size(), format_timestamp(found.at));
  }
  slice.progress.note += unused_members(metadata, {"from", "to", "tenantId"});
  slice.effects = [found = std::move(found)](store::Transaction& transaction,
                                             schedule::JobCounts& counts) -> Result<void> {
    TRY_ASSIGN(const std::size_t written, transaction.risk_snapshots().upsert(found.snapshots));
    counts["evaluations"] += found.evaluations;
    counts["snapshots"] += static_cast<std::int64_t>(written);
    counts["unusable"] += found.unusable;
    return {};
  };
  return slice;
}

}  // namespace wfo::jobs
