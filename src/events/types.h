#pragma once

#include <string_view>

/// The event types of the design's section 4, and the names of the roles that publish them.
namespace wfo::events {

inline constexpr std::string_view kAnalysisStarted = "workflow.opportunity.analysis.started";
inline constexpr std::string_view kAnalysisCompleted = "workflow.opportunity.analysis.completed";
inline constexpr std::string_view kAnalysisFailed = "workflow.opportunity.analysis.failed";
inline constexpr std::string_view kStepCompleted = "workflow.step.completed";
inline constexpr std::string_view kJobTrigger = "workflow.job.trigger";
inline constexpr std::string_view kJobCompleted = "workflow.job.completed";
inline constexpr std::string_view kJobFailed = "workflow.job.failed";
inline constexpr std::string_view kRiskAnalysisRequested = "workflow.risk.analysis.requested";
inline constexpr std::string_view kRiskScoringRequested = "workflow.risk.scoring.requested";
inline constexpr std::string_view kForecastRequested = "workflow.forecast.requested";
inline constexpr std::string_view kRecommendationRequested = "workflow.recommendation.requested";
inline constexpr std::string_view kRiskEvaluationCompleted = "risk.evaluation.completed";
inline constexpr std::string_view kRiskEvaluationFailed = "risk.evaluation.failed";
inline constexpr std::string_view kRiskScoringCompleted = "risk.scoring.completed";
inline constexpr std::string_view kRiskScoringFailed = "risk.scoring.failed";
inline constexpr std::string_view kForecastCompleted = "forecast.completed";
inline constexpr std::string_view kForecastFailed = "forecast.failed";
inline constexpr std::string_view kRecommendationCompleted = "recommendation.generation.completed";
inline constexpr std::string_view kRecommendationFailed = "recommendation.generation.failed";
inline constexpr std::string_view kRiskEvaluated = "risk.evaluated";
inline constexpr std::string_view kOutcomeRecorded = "opportunity.outcome.recorded";
inline constexpr std::string_view kOpportunityUpdated = "integration.opportunity.updated";
inline constexpr std::string_view kShardUpdated = "shard.updated";
inline constexpr std::string_view kAuditVerificationFailed = "audit.verification.failed";
inline constexpr std::string_view kAuditAlertTriggered = "audit.alert.triggered";

inline constexpr std::string_view kOrchestratorRole = "workflow-orchestrator";
inline constexpr std::string_view kRiskAnalyticsRole = "risk-analytics";
inline constexpr std::string_view kForecastingRole = "forecasting";
inline constexpr std::string_view kRecommendationsRole = "recommendations";
inline constexpr std::string_view kLoggingRole = "logging";

}  // namespace wfo::events
