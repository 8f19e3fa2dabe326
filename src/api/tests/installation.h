#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "api/routes.h"
#include "api/tests/http_wire.h"
#include "api/tests/openapi.h"
#include "bus/embedded/embedded_bus.h"
#include "delivery/consumer_loop.h"
#include "delivery/type_router.h"
#include "jobs/outcome_sync.h"
#include "jobs/risk_snapshot_backfill.h"
#include "ledger/ledger_sink.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"

namespace wfo::api {

inline const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
inline const TenantId kOtherTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a02");

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// What a call gave, or the end of the test.
template <class T>
T need(Result<T> result) {
  EXPECT_TRUE(result) << result.error().message;
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// The real thing behind the routes, in a directory of the test's own; nothing moves but when the test says so.
class Installation : public testing::Test {
 protected:
  Installation() {
    const auto file = std::filesystem::path(WFO_SOURCE_DIR) / "workflows/opportunity-analysis.yaml";
    auto definition = need(workflow::parse_definition(file_text(file), "workflow", contracts_->types()));
    orchestrator_ = std::make_unique<orchestrator::Orchestrator>(
        *store_, *contracts_, need(orchestrator::Definitions::load(*store_, {std::move(definition)})), ids_, clock_,
        Logger::silent(), metrics_);
    add_routes(router_, services(*store_));
    orchestrator_handler_ = std::make_unique<delivery::TypeRouter>(*orchestrator_, scheduler_, scheduler_.bindings());
    orchestrator_sink_ = std::make_unique<delivery::StoreSink>(*store_, *orchestrator_handler_, ids_, clock_);
    auto bindings = orchestrator_->bindings();
    for (auto& binding : scheduler_.bindings()) bindings.push_back(std::move(binding));
    orchestrator_loop_ = loop(
        need(bus_.consume({.queue = std::string(orchestrator::Orchestrator::kQueue), .bindings = std::move(bindings)})),
        *orchestrator_sink_);
    ledger_loop_ = loop(need(ledger::consume(bus_, *ledger_)), ledger_sink_);
  }

  Services services(store::Store& store) {
    return {.orchestrator = *orchestrator_,
            .scheduler = scheduler_,
            .store = store,
            .ledger = *ledger_,
            .dead_letters = dead_letters_,
            .intake = intake_,
            .metrics = metrics_,
            .ids = ids_,
            .clock = clock_,
            .default_tenant = kTenant,
            .not_ready = [this] { return not_ready_; }};
  }

  /// Asks, and holds the answer against the contract.
  Response ask(Method method, std::string target, std::string body = {}, Headers headers = {}) {
    if (!body.empty() && !headers.find("Content-Type")) headers.add("Content-Type", "application/json");
    Request request{
        .method = method, .target = std::move(target), .headers = std::move(headers), .body = std::move(body)};
    Response response = router_.handle(request);
    if (!request.route.empty()) {
      EXPECT_EQ(openapi().complaints(method, request.route, response), "") << request.target << "\n" << response.body;
    }
    return response;
  }
  Response get(std::string target, Headers headers = {}) {
    return ask(Method::get, std::move(target), "", std::move(headers));
  }
  Response post(std::string target, std::string body, Headers headers = {}) {
    return ask(Method::post, std::move(target), std::move(body), std::move(headers));
  }
  Response put(std::string target, std::string body) { return ask(Method::put, std::move(target), std::move(body)); }
  /// The same as another tenant.
  static Headers other() { return {{"X-Tenant-Id", kOtherTenant.to_string()}}; }

  /// A run of an opportunity; its id.
  std::string start(std::string_view opportunity, Headers headers = {}) {
    const auto response =
        post("/api/v1/workflows", fmt::format(R"({{"opportunityId":"{}"}})", opportunity), std::move(headers));
    EXPECT_EQ(response.status, 202) << response.body;
    return text_at(response, "workflowId");
  }
  /// Lets the orchestrator and the ledger take what stands in the log.
  void settle() {
    for (auto* const one :
         {orchestrator_loop_.get(), ledger_loop_.get(), orchestrator_loop_.get(), ledger_loop_.get()}) {
      need(one->run_once(milliseconds(0)));
    }
  }

  /// Triggers what is due.
  void attend() {
    while (need(scheduler_.run_once()).more) {
    }
  }

  /// A member of a response's body, by names joined with dots; texts without quotes, "" if it is not there.
  static std::string text_at(const Response& response, std::string_view path) {
    const auto document = json::Document::parse(response.body);
    if (!document) return "";
    std::optional<json::Value> value = document->root();
    while (value && !path.empty()) {
      const auto dot = std::min(path.find('.'), path.size());
      const auto name = path.substr(0, dot);
      path.remove_prefix(std::min(dot + 1, path.size()));
      if (value->is_array()) {
        std::size_t place = std::stoul(std::string(name));
        std::optional<json::Value> found;
        for (const json::Value element : value->elements()) {
          if (place-- == 0) found = element;
        }
        value = found;
      } else {
        value = value->find(name);
      }
    }
    if (!value) return "";
    return value->string().value_or(std::string(value->raw()));
  }
  /// One member of all elements of an array.
  static std::vector<std::string> all_at(const Response& response, std::string_view array, std::string_view member) {
    std::vector<std::string> texts;
    const auto document = json::Document::parse(response.body);
    const auto found = document ? document->root().find(array) : std::nullopt;
    if (!found) return texts;
    for (const json::Value element : found->elements()) {
      const auto value = element.find(member);
      texts.push_back(value ? value->string().value_or(std::string(value->raw())) : "");
    }
    return texts;
  }
  static std::string error(const Response& response) { return text_at(response, "error.message"); }

  std::unique_ptr<delivery::ConsumerLoop> loop(std::unique_ptr<bus::Consumer> consumer, delivery::Sink& sink) {
    return std::make_unique<delivery::ConsumerLoop>(std::move(consumer), sink, delivery::ConsumerLoopConfig{}, clock_,
                                                    waiter_, Logger::silent(), metrics_);
  }
  /// Both that are built in, and one whose worker is elsewhere.
  static schedule::JobCatalog catalog() {
    return schedule::JobCatalog({
        {.name = std::string(jobs::RiskSnapshotBackfill::kName), .kind = schedule::JobKind::builtin},
        {.name = std::string(jobs::OutcomeSync::kName), .kind = schedule::JobKind::builtin},
        {.name = "crm-export", .kind = schedule::JobKind::external},
    });
  }
  /// As far as a route's test needs a job's own judgement.
  static Result<void> check_metadata(std::string_view job, json::Value metadata) {
    if (job != jobs::OutcomeSync::kName || metadata.size() == 0) return {};
    return fail(ErrorCode::invalid_argument, "metadata of outcome-sync is {}; allowed: {{}}", metadata.raw());
  }
  store::sqlite::SqliteStoreConfig store_config() {
    store::sqlite::SqliteStoreConfig config;
    config.directory = directory_.path();
    config.disk_free = [this] { return Result<std::uint64_t>(disk_free_bytes_.load()); };
    return config;
  }
  store::sqlite::SqliteLedgerConfig ledger_config() {
    store::sqlite::SqliteLedgerConfig config;
    config.directory = directory_.path();
    return config;
  }
  /// Nothing is worth waiting for here: a try that failed fails again.
  struct NoWaiter final : delivery::Waiter {
    bool wait(milliseconds, std::stop_token stop) override { return !stop.stop_requested(); }
  };

  TemporaryDirectory directory_;
  Metrics metrics_;
  NoWaiter waiter_;
  ManualClock clock_{Timestamp(milliseconds(1'772'357'400'000))};  // 2026-03-01T09:30:00Z
  SystemIdSource ids_{clock_};
  std::unique_ptr<const events::Contracts> contracts_ = need(events::Contracts::load());
  std::vector<std::string> not_ready_;
  std::atomic<std::uint64_t> disk_free_bytes_ = std::uint64_t{1} << 40;
  std::unique_ptr<store::sqlite::SqliteStore> store_ =
      need(store::sqlite::SqliteStore::open(store_config(), *contracts_, clock_, Logger::silent(), metrics_));
  std::unique_ptr<store::sqlite::SqliteLedger> ledger_ =
      need(store::sqlite::SqliteLedger::open(ledger_config(), clock_, Logger::silent(), metrics_));
  bus::EmbeddedBus bus_{*store_, *store_};
  delivery::DeadLetters dead_letters_{*store_, *contracts_, ids_, clock_, Logger::silent(), metrics_};
  delivery::EventIntake intake_{*store_, *contracts_, clock_, metrics_};
  std::unique_ptr<orchestrator::Orchestrator> orchestrator_;
  scheduler::Scheduler scheduler_{*store_, *contracts_, catalog(),        check_metadata, ids_,
                                  clock_,  waiter_,     Logger::silent(), metrics_};
  Router router_{Logger::silent()};
  std::unique_ptr<delivery::TypeRouter> orchestrator_handler_;
  std::unique_ptr<delivery::StoreSink> orchestrator_sink_;
  ledger::LedgerSink ledger_sink_{*ledger_, store_.get(), clock_, Logger::silent(), metrics_};
  std::unique_ptr<delivery::ConsumerLoop> orchestrator_loop_;
  std::unique_ptr<delivery::ConsumerLoop> ledger_loop_;
};

}  // namespace wfo::api
