#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/steps.h"
#include "analysis/tenant_statistics.h"
#include "base/log.h"
#include "base/time.h"
#include "base/uuid.h"
#include "bus/bus.h"
#include "delivery/consumer_loop.h"
#include "events/contracts.h"
#include "store/store.h"

namespace wfo::analysis {

/// A step as events: what asks for it, and its two answers.
struct StepEvents {
  std::string_view step_type;
  std::string_view request;
  std::string_view completed;
  std::string_view failed;
};

/// A role that works steps, with its queue. The steps of the roles: design section 3.
struct StepRole {
  std::string_view name;   // the `source` of its events
  std::string_view queue;  // durable
  std::vector<StepEvents> steps;

  /// Queue and bindings for `Bus::consume`.
  [[nodiscard]] bus::ConsumerOptions consumer_options() const;
};

/// risk-analytics, forecasting, recommendations.
[[nodiscard]] const std::vector<StepRole>& step_roles();
/// The one of that name, or null.
[[nodiscard]] const StepRole* find_step_role(std::string_view name);

struct StepWorkerConfig {
  /// A tenant's profile that is older is built anew before it is used. >= 1 s.
  milliseconds profile_age_max{10 * 60 * 1000};
  std::size_t tenants_cached_max = 256;  // >= 1 tenants whose parsed profile and model are kept
};

/// Answers the requests of one role: reads the opportunities of a batch and what is known of their tenants in one
/// snapshot, runs `steps`, and appends the completions to the log in the batch's transaction; each completed risk
/// analysis is also published as `risk.evaluated`. A request that cannot be answered (its opportunity is not known, the
/// step fails, its result breaks the contract) gets the step's failure event and costs its batch nothing.
/// One per consumer; one thread. What it is given must outlive it.
class StepWorker final : public delivery::Handler {
 public:
  StepWorker(const StepRole& role, const StepFunction& steps, store::Store& store, const events::Contracts& contracts,
             IdSource& ids, const Clock& clock, Logger& log, StepWorkerConfig config = {});
  /// Errors: `unavailable` the store is away; `invalid_argument` a message that is no request for a step of this role.
  [[nodiscard]] Result<Apply> prepare(std::span<const bus::Delivery> batch) override;

 private:
  struct Request;
  [[nodiscard]] Result<Request> read_request(const events::EventPtr& event) const;
  Result<void> load(std::vector<Request>& requests, Timestamp now);
  Result<void> refresh_profile(std::span<Request* const> requests, Timestamp now);
  Result<void> answer(const Request& request, Timestamp now, std::vector<events::EventPtr>& out) const;
  [[nodiscard]] Result<events::EventPtr> complete(const Request& request, Timestamp now) const;
  [[nodiscard]] Result<events::EventPtr> give_up(const Request& request, const Error& error) const;
  [[nodiscard]] Result<events::EventPtr> announce_risk(const Request& request, const events::Event& completed) const;

  const StepRole& role_;
  const StepFunction& steps_;
  store::Store& store_;
  events::EventFactory factory_;
  const Clock& clock_;
  Logger& log_;
  StepWorkerConfig config_;
  KnowledgeCache knowledge_;
};

}  // namespace wfo::analysis
