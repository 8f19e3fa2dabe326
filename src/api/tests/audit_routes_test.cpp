#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/detail/payload.h"
#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kAuditEvents = "/api/v1/audit/events";
constexpr const char* kExport = "/api/v1/audit/export";
constexpr const char* kQuarantine = "/api/v1/audit/quarantine";

class AuditRoutes : public Installation {
 protected:
  /// `count` runs that start and are cancelled: two entries each.
  void fill(int count) {
    for (int i = 0; i < count; ++i) {
      const auto id = start(fmt::format("A-{}", i));
      clock_.advance(milliseconds(1'000));
      post(fmt::format("/api/v1/workflows/{}/cancel", id), R"({"reason":"x"})");
    }
    settle();
  }
  /// An entry whose event is `text`.
  void append(std::string text, const TenantId& tenant = kTenant) {
    const auto event = need(contracts_->read(std::move(text), clock_.now()));
    ASSERT_EQ(event->tenant(), tenant);
    const store::LedgerRecord record{
        .event = event, .workflow = std::nullopt, .opportunity = std::nullopt, .received_at = clock_.now()};
    need(ledger_->append({&record, 1}, {}, "test", ++position_));
  }
  std::string event(std::string_view data) {
    return fmt::format(R"({{"id":"{}","type":"note","timestamp":"2026-03-01T09:30:00Z","tenantId":"{}","data":{}}})",
                       ids_.next().to_string(), kTenant.to_string(), data);
  }
  void quarantine(std::string bytes, std::optional<TenantId> tenant, std::string reason = "no JSON") {
    const store::QuarantinedMessage message{.tenant = tenant,
                                            .event_id = std::nullopt,
                                            .reason = std::move(reason),
                                            .received_at = clock_.now(),
                                            .bytes = std::move(bytes)};
    need(ledger_->append({}, {&message, 1}, "test", ++position_));
  }
  std::vector<std::string> indexes(const std::string& query, Headers headers = {}) {
    return all_at(get(fmt::format("{}?{}", kAuditEvents, query), std::move(headers)), "entries", "index");
  }
  static std::vector<std::string> lines(const Response& response) {
    std::vector<std::string> all;
    for (std::size_t begin = 0; begin < response.body.size();) {
      const auto end = response.body.find('\n', begin);
      EXPECT_NE(end, std::string::npos);
      all.push_back(response.body.substr(begin, end - begin));
      begin = end + 1;
    }
    return all;
  }
  store::Sequence position_ = 1'000'000;
};

TEST_F(AuditRoutes, SayWhenTheLedgerIsStillBehind) {
  fill(1);
  bool is_current = false;
  Services behind = services(*store_);
  behind.ledger_catches_up = [&]() -> Result<bool> { return is_current; };
  Router router(Logger::silent());
  add_routes(router, behind);
  for (const char* target : {kAuditEvents, kExport}) {
    is_current = false;
    Request request{.method = Method::get, .target = target, .headers = {}, .body = {}};
    const auto lagging = router.handle(request);
    EXPECT_EQ(lagging.status, 200);
    EXPECT_EQ(lagging.headers.find("X-Ledger-Behind"), "true") << target;
    is_current = true;
    const auto current = router.handle(request);
    EXPECT_FALSE(current.headers.find("X-Ledger-Behind")) << target;
    EXPECT_EQ(current.body, lagging.body);
  }
}

TEST_F(AuditRoutes, ShowWhatHappenedInItsOrder) {
  const auto id = start("A-1");
  post(fmt::format("/api/v1/workflows/{}/cancel", id), R"({"reason":"entered twice"})");
  settle();
  const auto page = get(kAuditEvents);
  EXPECT_THAT(all_at(page, "entries", "index"), ElementsAre("0", "1"));
  EXPECT_THAT(all_at(page, "entries", "workflowId"), Each(id));
  EXPECT_EQ(text_at(page, "entries.0.event.type"), "workflow.opportunity.analysis.started");
  EXPECT_EQ(text_at(page, "entries.1.event.data.error"), "cancelled: entered twice");
  EXPECT_EQ(text_at(page, "after"), "");
}

TEST_F(AuditRoutes, SearchByTypeTimeWorkflowAndOpportunity) {
  fill(3);  // started at 0 s, 1 s, 2 s; failed at 1 s, 2 s, 3 s
  EXPECT_THAT(indexes("type=workflow.opportunity.analysis.failed"), ElementsAre("1", "3", "5"));
  EXPECT_THAT(indexes("from=2026-03-01T09:30:02Z"), ElementsAre("3", "4", "5"));
  EXPECT_THAT(indexes("to=2026-03-01T09:30:01Z"), ElementsAre("0"));
  EXPECT_THAT(indexes("from=2026-03-01T10:30:01%2B01:00&to=2026-03-01T09:30:02Z"), ElementsAre("1", "2"));
  EXPECT_THAT(indexes("opportunityId=A-1"), ElementsAre("2", "3"));
  EXPECT_THAT(indexes("opportunityId=" + opportunity_id(kTenant, "A-1").to_string()), ElementsAre("2", "3"));
  const auto run = text_at(get("/api/v1/workflows?opportunityId=A-2"), "workflows.0.workflowId");
  EXPECT_THAT(indexes("workflowId=" + run), ElementsAre("4", "5"));
  EXPECT_THAT(indexes("workflowId=" + run + "&type=workflow.step.completed"), IsEmpty());
}

TEST_F(AuditRoutes, PageThroughAllOfIt) {
  fill(3);
  std::vector<std::string> seen;
  std::string after;
  int pages = 0;
  do {
    const auto page = get(fmt::format("{}?limit=2{}", kAuditEvents, after.empty() ? "" : "&after=" + after));
    for (auto& index : all_at(page, "entries", "index")) seen.push_back(std::move(index));
    after = text_at(page, "after");
    ++pages;
  } while (!after.empty());
  EXPECT_THAT(seen, ElementsAre("0", "1", "2", "3", "4", "5"));
  EXPECT_EQ(pages, 3) << "the last one is full, and is known to be the last";
}

TEST_F(AuditRoutes, ExportTheSameAsLines) {
  fill(2);
  const auto first = get(fmt::format("{}?limit=3", kExport));
  EXPECT_EQ(first.content_type, "application/jsonl");
  EXPECT_EQ(first.headers.find("X-Next-After"), "2");
  ASSERT_THAT(lines(first), SizeIs(3));
  const auto entry = need(json::Document::parse(lines(first)[0]));
  const auto stored = need(ledger_->search({.tenant = kTenant, .limit = 1}));
  EXPECT_EQ(entry.root().find("event")->raw(), stored.front().bytes);
  EXPECT_EQ(entry.root().find("index")->integer(), 0);
  const auto rest = get(fmt::format("{}?limit=3&after=2", kExport));
  EXPECT_EQ(rest.headers.find("X-Next-After"), std::nullopt);
  EXPECT_THAT(lines(rest), SizeIs(1));
}

TEST_F(AuditRoutes, ExportALineForAnEventOfManyLines) {
  append("{\n\"id\":\"" + ids_.next().to_string() +
         "\",\r\n\"type\":\"note\",\"timestamp\":\"2026-03-01T09:30:00Z\",\n" + "\"tenantId\":\"" +
         kTenant.to_string() + "\",\"data\":{}\n}");
  const auto all = lines(get(kExport));
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_THAT(all[0], HasSubstr("\"reflowed\":true"));
  EXPECT_TRUE(json::Document::parse(all[0]));
}

TEST_F(AuditRoutes, ExportNothingFromAnEmptyLedger) {
  const auto response = get(kExport);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(response.headers.find("X-Next-After"), std::nullopt);
}

TEST_F(AuditRoutes, EndAPageBeforeItIsTooLarge) {
  const std::string filler(1'000'000, 'x');
  for (int i = 0; i < 12; ++i) append(event(fmt::format(R"({{"text":"{}"}})", filler)));
  const auto first = get(fmt::format("{}?limit=100", kAuditEvents));
  EXPECT_LT(first.body.size(), 9U * 1024 * 1024);
  EXPECT_EQ(text_at(first, "after"), "7");
  EXPECT_THAT(indexes("limit=100&after=7"), ElementsAre("8", "9", "10", "11"));
  const auto exported = get(fmt::format("{}?limit=100", kExport));
  EXPECT_EQ(exported.headers.find("X-Next-After"), "7");
}

TEST_F(AuditRoutes, ShowATenantItsOwnLedgerOnly) {
  fill(2);
  start("A-1", other());
  settle();
  EXPECT_THAT(indexes("", other()), ElementsAre("0"));
  EXPECT_THAT(lines(get(kExport, other())), AllOf(SizeIs(1), Each(HasSubstr(kOtherTenant.to_string()))));
  EXPECT_THAT(indexes("opportunityId=" + opportunity_id(kTenant, "A-0").to_string(), other()), IsEmpty());
  EXPECT_THAT(indexes("limit=1000"), SizeIs(4));
}

TEST_F(AuditRoutes, ShowTheQuarantineWithTheBytesThatCame) {
  quarantine("{\"type\":", kTenant, "line 1: ends too early");
  quarantine(std::string("\xff\x00\x01", 3), kTenant);
  const auto page = get(kQuarantine);
  EXPECT_THAT(all_at(page, "messages", "body"), ElementsAre("{\"type\":", ""));
  EXPECT_THAT(all_at(page, "messages", "bodyBase64"), ElementsAre("", "/wAB"));
  EXPECT_EQ(text_at(page, "messages.0.reason"), "line 1: ends too early");
  EXPECT_EQ(text_at(page, "messages.0.receivedAt"), "2026-03-01T09:30:00.000Z");
}

TEST_F(AuditRoutes, ShowAMessageWithoutTenantToTheSystemTenantAlone) {
  quarantine("mine", kTenant);
  quarantine("nobody's", std::nullopt);
  quarantine("theirs", kOtherTenant);
  quarantine("the system's", system_tenant());
  EXPECT_THAT(all_at(get(kQuarantine), "messages", "body"), ElementsAre("mine"));
  EXPECT_THAT(all_at(get(kQuarantine, other()), "messages", "body"), ElementsAre("theirs"));
  EXPECT_THAT(all_at(get(kQuarantine, {{"X-Tenant-Id", system_tenant().to_string()}}), "messages", "body"),
              ElementsAre("nobody's", "the system's"));
}

TEST_F(AuditRoutes, PageThroughTheQuarantine) {
  for (int i = 0; i < 130; ++i) quarantine(fmt::format("{}", i), kTenant);
  std::vector<std::string> seen;
  std::string after;
  int pages = 0;
  do {
    const auto page = get(fmt::format("{}?limit=65{}", kQuarantine, after.empty() ? "" : "&after=" + after));
    for (auto& body : all_at(page, "messages", "body")) seen.push_back(std::move(body));
    after = text_at(page, "after");
    ++pages;
  } while (!after.empty());
  ASSERT_THAT(seen, SizeIs(130));
  for (int i = 0; i < 130; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], fmt::format("{}", i));
  EXPECT_EQ(pages, 2);
}

TEST_F(AuditRoutes, RefuseBadParameters) {
  struct {
    std::string target;
    const char* message;
  } const rows[] = {
      {fmt::format("{}?from=yesterday", kAuditEvents), "parameter from is 'yesterday'; allowed: an RFC 3339 time"},
      {fmt::format("{}?to=2026-03-01", kExport), "parameter to is '2026-03-01'"},
      {fmt::format("{}?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", kAuditEvents), "allowed: from before to"},
      {fmt::format("{}?workflowId=17", kAuditEvents), "parameter workflowId is '17'; allowed: a uuid"},
      {fmt::format("{}?after=-1", kAuditEvents), "parameter after is '-1'; allowed: a whole number from 0"},
      {fmt::format("{}?after=x", kQuarantine), "parameter after is 'x'"},
      {fmt::format("{}?limit=0", kExport), "allowed: 1..1000"},
      {fmt::format("{}?status=x", kQuarantine), "parameter status is not known here; allowed: after, limit"},
  };
  for (const auto& [target, message] : rows) {
    const auto response = get(target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_THAT(error(response), HasSubstr(message));
  }
}

TEST(Base64, IsThatOfTheStandard) {
  // RFC 4648, section 10.
  EXPECT_EQ(detail::to_base64(""), "");
  EXPECT_EQ(detail::to_base64("f"), "Zg==");
  EXPECT_EQ(detail::to_base64("fo"), "Zm8=");
  EXPECT_EQ(detail::to_base64("foo"), "Zm9v");
  EXPECT_EQ(detail::to_base64("foob"), "Zm9vYg==");
  EXPECT_EQ(detail::to_base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(detail::to_base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(detail::to_base64(std::string_view("\xfb\xff\xfe", 3)), "+//+");
}

}  // namespace
}  // namespace wfo::api
