#include "jobs/outcome_sync.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "events/types.h"
#include "jobs/detail/metadata.h"

namespace wfo::jobs {

using store::Opportunity;
using store::OpportunityKey;

namespace {

/// The opportunity that was looked at last.
std::string encode(const OpportunityKey& last) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object().key("tenant").uuid(last.tenant).key("opportunity").uuid(last.opportunity).end_object();
  return out;
}

Result<std::optional<OpportunityKey>> decode(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto document = json::Document::parse(text);
  const auto member = [&](std::string_view key) { return document ? document->root().find(key) : std::nullopt; };
  const auto tenant = member("tenant");
  const auto opportunity = member("opportunity");
  if (!tenant || !tenant->uuid() || !opportunity || !opportunity->uuid()) {
    return fail(ErrorCode::corruption, "checkpoint {} is none of {}", text, OutcomeSync::kName);
  }
  return OpportunityKey{TenantId(*tenant->uuid()), OpportunityId(*opportunity->uuid())};
}

void write_outcome(json::Writer& data, const Opportunity& opportunity) {
  data.begin_object().key("tenantId").uuid(opportunity.tenant).key("opportunityId").uuid(opportunity.id);
  data.key("outcome").string(store::name(opportunity.state));
  data.key("closeDate").string(format_date(*opportunity.close_on)).key("amount");
  opportunity.amount ? data.number(*opportunity.amount) : data.null();
  if (!opportunity.competitor_id.empty()) data.key("competitorId").string(opportunity.competitor_id);
  if (!opportunity.external_id.empty()) data.key("externalId").string(opportunity.external_id);
  data.end_object();
}

}  // namespace

OutcomeSync::OutcomeSync(store::Store& store, const events::Contracts& contracts, IdSource& ids, const Clock& clock,
                         OutcomeSyncConfig config)
    : store_(store), contracts_(contracts), ids_(ids), clock_(clock), config_(config) {
  INVARIANT(config_.slice_rows >= 1 && config_.slice_rows <= 10'000);
}

// It has no parameters. What is handed in all the same is passed over, and named in the run's progress.
Result<void> OutcomeSync::check(json::Value) const { return {}; }

Result<Slice> OutcomeSync::next(const schedule::JobRun& run, std::stop_token stop) {
  if (stop.stop_requested()) return fail(ErrorCode::unavailable, "stopped");
  TRY_ASSIGN(const auto metadata, json::Document::parse(run.metadata));
  TRY_ASSIGN(const auto after, decode(run.checkpoint));
  std::vector<Opportunity> page;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(page, transaction.opportunities().closed_after(after, config_.slice_rows));
    return {};
  }));

  Slice slice;
  slice.is_last = page.size() < config_.slice_rows;
  slice.checkpoint = page.empty() ? run.checkpoint : encode({page.back().tenant, page.back().id});
  const auto looked_at = static_cast<std::int64_t>(page.size());
  const auto counted = run.counts.find("opportunities");
  slice.progress.done = (counted == run.counts.end() ? 0 : counted->second) + looked_at;
  if (slice.is_last) {
    slice.progress.total = slice.progress.done;
    slice.progress.note = "all closed opportunities";
  } else {
    slice.progress.note = fmt::format("tenant {}", page.back().tenant.to_string());
  }
  slice.progress.note += unused_members(metadata.root(), {});
  std::erase_if(page, [](const Opportunity& opportunity) { return !opportunity.close_on; });

  slice.effects = [this, page = std::move(page), looked_at, trigger = run.trigger, correlation = run.correlation_id](
                      store::Transaction& transaction, schedule::JobCounts& counts) -> Result<void> {
    const Timestamp now = clock_.now();
    std::vector<store::RecordedOutcome> outcomes;
    outcomes.reserve(page.size());
    for (const Opportunity& opportunity : page) {
      outcomes.push_back({.tenant = opportunity.tenant,
                          .opportunity = opportunity.id,
                          .close_on = *opportunity.close_on,
                          .event = EventId(ids_.next()),
                          .recorded_at = now});
    }
    TRY_ASSIGN(const auto fresh, transaction.outcomes().insert(outcomes));
    std::vector<events::EventPtr> published;
    for (std::size_t i = 0; i < page.size(); ++i) {
      if (!fresh[i]) continue;
      const events::Envelope envelope{.type = events::kOutcomeRecorded,
                                      .tenant = page[i].tenant,
                                      .source = events::kRiskAnalyticsRole,
                                      .correlation_id = correlation,
                                      .causation_id = trigger};
      TRY_ASSIGN(auto event, contracts_.make(outcomes[i].event, now, envelope,
                                             [&](json::Writer& data) { write_outcome(data, page[i]); }));
      published.push_back(std::move(event));
    }
    if (!published.empty()) TRY(transaction.log().append(published));
    counts["opportunities"] += looked_at;
    counts["published"] += static_cast<std::int64_t>(published.size());
    counts["withoutCloseDate"] += looked_at - static_cast<std::int64_t>(page.size());
    return {};
  };
  return slice;
}

}  // namespace wfo::jobs
