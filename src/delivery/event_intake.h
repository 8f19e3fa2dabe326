#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "events/contracts.h"
#include "events/types.h"
#include "store/store.h"

namespace wfo::delivery {

/// Event types that come from nobody but us, and what to do instead of handing one in. An entry that ends with a dot
/// stands for all types that begin with it.
struct OwnType {
  std::string_view type;
  std::string_view reason;
};
inline constexpr std::array kOwnTypes = {
    OwnType{events::kAnalysisStarted, "starting a workflow publishes it"},
    OwnType{events::kStepCompleted, "it follows from the step's own completion; hand that in"},
    OwnType{events::kAnalysisCompleted, "it follows from the completion of the last step"},
    OwnType{events::kAnalysisFailed, "it follows from a step's failure, a deadline or a cancellation"},
    OwnType{events::kJobTrigger, "triggering a job publishes it: POST /api/v1/jobs/{job}/trigger"},
    OwnType{events::kRiskAnalysisRequested, "a running workflow publishes it"},
    OwnType{events::kRiskScoringRequested, "a running workflow publishes it"},
    OwnType{events::kForecastRequested, "a running workflow publishes it"},
    OwnType{events::kRecommendationRequested, "a running workflow publishes it"},
    OwnType{"audit.", "the ledger alone speaks about itself"},
};
/// Why an event of that type is not taken from others; "" if it is.
[[nodiscard]] std::string_view why_not_taken(std::string_view type);

enum class IntakeStatus {
  accepted,   // it stands in the log now
  duplicate,  // the same bytes under the same id came before: nothing is written
  refused,    // `refusal` says why; nothing is written
};
[[nodiscard]] std::string_view name(IntakeStatus status);

struct IntakeAnswer {
  IntakeStatus status = IntakeStatus::refused;
  std::optional<EventId> id;  // as far as one could be read
  /// `invalid_argument`: the event must be mended; `conflict`: other bytes came before under this id.
  std::optional<Error> refusal;
};

/// How events come in without a broker: from HTTP, from a file. What is accepted goes the way of all events, through
/// the log to the consumers that are bound to its type. Any thread.
class EventIntake {
 public:
  /// The name under which the inbox keeps what came in this way.
  static constexpr std::string_view kConsumer = "http";

  EventIntake(store::Store& store, const events::Contracts& contracts, const Clock& clock, Metrics& metrics);

  /// Takes events of one tenant, each a JSON text, kept as it is. An answer per text, in order. All that is accepted of
  /// one call commits in one transaction; a text that is refused does not keep the others out. An event twice in
  /// one call is accepted once. Errors: `unavailable` the disk is nearly full or the store is away, try again with the
  /// same events; as the store besides. Then nothing was taken.
  [[nodiscard]] Result<std::vector<IntakeAnswer>> submit(const TenantId& tenant, std::span<const std::string> texts);

 private:
  [[nodiscard]] Result<events::EventPtr> read(const TenantId& tenant, const std::string& text, Timestamp now) const;

  store::Store& store_;
  const events::Contracts& contracts_;
  const Clock& clock_;
  std::array<Counter*, 3> counted_;  // by status
};

}  // namespace wfo::delivery
