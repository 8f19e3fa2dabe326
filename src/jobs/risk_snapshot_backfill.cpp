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
constexpr days kReachBackMax{90};
// Completed runs to look through for one with default range.
constexpr std::size_t kRunsPage = 50;
constexpr std::size_t kRunsMax = 1'000;
// A page of the ledger holds whole events, of which a snapshot keeps a fraction: so pages are small. `kPageBytes`
// bounds them; a number of rows that will about fit spares the ledger what it would find and leave out.
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

Result<void> check_range(Timestamp from, Timestamp to) {
  // Of a default beginning, or of a fire that somebody else names.
  if (from < kTimeMin || to > kTimeMax) {
    return fail(ErrorCode::invalid_argument, "metadata: the range {} the year {}; allowed: the years 0001 to 9999",
                from < kTimeMin ? "begins before" : "ends after", from < kTimeMin ? "0001" : "9999");
  }
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

/// Where the next slice goes on. The range is fixed by the first one, so that all see the same; it stays with the run
/// when that has ended, for the next one's sake.
struct Checkpoint {
  Timestamp from;
  Timestamp to;
  std::optional<Timestamp> read_to;  // up to when the runs before this one read, if that is why it begins where it does
  TenantId tenant;                   // the one to read; those with smaller ids are done. Nil: the first
  store::LedgerIndex after = -1;
  std::int64_t tenants_found = 0;  // of which there were evaluations
  bool is_tenant_found = false;    // among them: `tenant`
};

std::string encode(const Checkpoint& checkpoint) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object().key("from").timestamp(checkpoint.from).key("to").timestamp(checkpoint.to);
  if (checkpoint.read_to) writer.key("readTo").timestamp(*checkpoint.read_to);
  writer.key("tenant").uuid(checkpoint.tenant).key("after").number(checkpoint.after);
  writer.key("tenantsFound").number(checkpoint.tenants_found).key("tenantFound").boolean(checkpoint.is_tenant_found);
  writer.end_object();
  return out;
}

Result<Checkpoint> decode(const std::string& text) {
  const auto document = json::Document::parse(text);
  const auto member = [&](std::string_view key) { return document ? document->root().find(key) : std::nullopt; };
  const auto from = member("from");
  const auto to = member("to");
  const auto read_to = member("readTo");
  const auto tenant = member("tenant");
  const auto after = member("after");
  const auto tenants_found = member("tenantsFound");
  const auto tenant_found = member("tenantFound");
  if (!from || !from->timestamp() || !to || !to->timestamp() || (read_to && !read_to->timestamp()) || !tenant ||
      !tenant->uuid() || !after || !after->integer() || !tenants_found || !tenants_found->integer() || !tenant_found ||
      !tenant_found->boolean()) {
    return fail(ErrorCode::corruption, "checkpoint {} is none of {}", text, RiskSnapshotBackfill::kName);
  }
  return Checkpoint{.from = *from->timestamp(),
                    .to = *to->timestamp(),
                    .read_to = read_to ? read_to->timestamp() : std::nullopt,
                    .tenant = TenantId(*tenant->uuid()),
                    .after = *after->integer(),
                    .tenants_found = *tenants_found->integer(),
                    .is_tenant_found = *tenant_found->boolean()};
}

bool is_there(json::Value metadata, std::string_view name) {
  const auto member = metadata.find(name);
  return member && member->kind() != json::Kind::null;
}

/// Up to when a completed run read everything since the one before it; nothing if it was told what to read.
std::optional<Timestamp> read_to(const schedule::JobRun& run) {
  const auto metadata = json::Document::parse(run.metadata);
  if (!metadata) return std::nullopt;
  for (const std::string_view name : {"from", "to", "tenantId"}) {
    if (is_there(metadata->root(), name)) return std::nullopt;
  }
  const auto checkpoint = decode(run.checkpoint);
  if (!checkpoint) return std::nullopt;
  // Nobody has read what had not happened yet.
  return std::min(checkpoint->to, run.created_at);
}

Timestamp default_from(Timestamp to) { return std::chrono::floor<days>(to - kDefaultDays); }

/// Up to when the completed runs of the job have read everything; nothing if that is `enough`, or if there is none.
Result<std::optional<Timestamp>> read_to(store::Store& store, const std::string& job, Timestamp enough) {
  std::optional<Timestamp> latest;
  TRY(store.read([&](const store::Transaction& transaction) -> Result<void> {
    latest.reset();
    store::JobRunQuery query{.job = job, .status = schedule::JobRunStatus::completed, .limit = kRunsPage};
    for (std::size_t seen = 0; seen < kRunsMax; seen += kRunsPage) {
      TRY_ASSIGN(const auto runs, transaction.job_runs().list(query));
      for (const schedule::JobRun& run : runs) {
        latest = std::max(latest, read_to(run));
        if (latest >= enough) return {};
      }
      if (runs.size() < kRunsPage) return {};
      query.before = runs.back().id;
    }
    return {};
  }));
  return latest;
}

Result<Checkpoint> first_checkpoint(const schedule::JobRun& run, json::Value metadata, store::Store& store) {
  TRY_ASSIGN(const Range wanted, range_of(metadata));
  Checkpoint first;
  first.to = wanted.to.value_or(run.scheduled_for.value_or(run.created_at));
  first.from = wanted.from.value_or(default_from(first.to));
  TRY(check_range(first.from, first.to));
  if (wanted.from) return first;
  TRY_ASSIGN(const auto latest, read_to(store, run.job, first.from));
  if (!latest || *latest >= first.from) return first;
  first.read_to = latest;
  first.from = std::chrono::floor<days>(std::max({*latest, first.to - kReachBackMax, kTimeMin}));
  return first;
}

/// Why a range is not the usual one; "" if it is.
std::string reached_back(const Checkpoint& checkpoint) {
  if (!checkpoint.read_to) return "";
  return fmt::format(
      ", as the last run with default range read up to {}{}", format_timestamp(*checkpoint.read_to),
      *checkpoint.read_to < checkpoint.from
          ? fmt::format(" and a run goes back {} days at most: what is between was not read", kReachBackMax.count())
          : "");
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

Result<void> RiskSnapshotBackfill::check_metadata(json::Value metadata) {
  TRY_ASSIGN(const Range range, range_of(metadata));
  if (range.to) {
    TRY(check_range(range.from.value_or(default_from(*range.to)), *range.to));
  } else if (range.from) {
    TRY(check_range(*range.from, kTimeMax));
  }
  TRY(tenant_of(metadata));
  return {};
}

Result<Slice> RiskSnapshotBackfill::next(const schedule::JobRun& run, std::stop_token stop) {
  TRY_ASSIGN(const auto document, json::Document::parse(run.metadata));
  const json::Value metadata = document.root();
  TRY_ASSIGN(Checkpoint here,
             run.checkpoint.empty() ? first_checkpoint(run, metadata, store_) : decode(run.checkpoint));
  TRY_ASSIGN(const auto only, tenant_of(metadata));
  std::vector<TenantId> tenants;
  if (only) {
    tenants.push_back(*only);
  } else {
    TRY_ASSIGN(tenants, ledger_.tenants());
    std::ranges::sort(tenants);
  }
  auto tenant = std::ranges::lower_bound(tenants, here.tenant);
  const auto begin_tenant = [&] {
    if (tenant == tenants.end()) return;
    here.tenant = *tenant;
    here.after = -1;
    here.is_tenant_found = false;
  };
  if (tenant != tenants.end() && *tenant != here.tenant) begin_tenant();

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
                                          .limit = limit,
                                          .bytes_max = kPageBytes}));
    if (page.empty()) {
      ++tenant;
      begin_tenant();
      continue;
    }
    std::size_t page_bytes = 1;
    const std::int64_t evaluations = found.evaluations;
    for (store::LedgerEntry& entry : page) {
      here.after = entry.index;
      page_bytes += entry.bytes.size();
      found.add(std::move(entry));
    }
    if (found.evaluations > evaluations && !std::exchange(here.is_tenant_found, true)) ++here.tenants_found;
    page_rows = std::clamp(page.size() * kPageBytes / page_bytes, kPageRowsMin, kPageRowsMax);
  }

  Slice slice;
  slice.is_last = tenant == tenants.end();
  slice.checkpoint = encode(here);
  const auto counted = run.counts.find("evaluations");
  slice.progress.done = (counted == run.counts.end() ? 0 : counted->second) + found.evaluations;
  if (slice.is_last) {
    slice.progress.total = slice.progress.done;
    slice.progress.note = fmt::format("{} tenant{}, {} to {}{}", here.tenants_found, here.tenants_found == 1 ? "" : "s",
                                      format_timestamp(here.from), format_timestamp(here.to), reached_back(here));
  } else {
    slice.progress.note =
        fmt::format("ledger {} of {}, at {}", tenant - tenants.begin() + 1, tenants.size(), format_timestamp(found.at));
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
