#include <limits>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::Opportunity;
using store::StageState;
using store::Transaction;

Opportunity opportunity(std::uint32_t n, const TenantId& tenant = kTenant) {
  Opportunity made;
  made.tenant = tenant;
  made.id = id<OpportunityId>(n);
  made.external_id = "006-" + std::to_string(n);
  made.name = "Größe \"XL\"\n";
  made.stage = "Negotiation";
  made.state = StageState::won;
  made.amount = 0.1;
  made.currency = "EUR";
  made.product = "GTX Pro";
  made.list_price = 4'821;
  made.account = "Ünïcode & Söhne";
  made.owner = "Ann";
  made.competitor_id = "c-1";
  made.crm_probability = 1.0 / 3;
  made.created_on = *parse_date("2016-10-20");
  made.stage_entered_on = *parse_date("0000-01-01");
  made.last_activity_on = *parse_date("9999-12-31");
  made.close_on = *parse_date("2017-03-01");
  made.stage_regressed = true;
  made.account_revenue = 1'100.04;
  made.account_employees = 2'822;
  made.account_sector = "technology";
  made.as_of = *parse_date("2017-12-31");
  made.changed_at = at(5);
  return made;
}

class OpportunityContract : public StoreContract {
 protected:
  Result<void> try_upsert(std::vector<Opportunity> batch) {
    return write([&](Transaction& t) { return t.opportunities().upsert(batch); });
  }
  void upsert(std::vector<Opportunity> batch) { EXPECT_OK(try_upsert(std::move(batch))); }
  std::optional<Opportunity> load(std::uint32_t n, const TenantId& tenant = kTenant) {
    const auto wanted = id<OpportunityId>(n);
    auto found = value(read([&](const Transaction& t) { return t.opportunities().load(tenant, {&wanted, 1}); }));
    return found.empty() ? std::nullopt : found[0];
  }
};

TEST_P(OpportunityContract, LoadsAnOpportunityAsItWasWritten) {
  Opportunity empty;
  empty.tenant = kTenant;
  empty.id = id<OpportunityId>(2);
  upsert({opportunity(1), empty});
  harness_->restart();
  EXPECT_EQ(load(1), opportunity(1));
  EXPECT_EQ(load(2), empty);
  EXPECT_EQ(load(1, kOtherTenant), std::nullopt);
}

TEST_P(OpportunityContract, ReplacesWhatItHas) {
  upsert({opportunity(1)});
  Opportunity changed = opportunity(1);
  changed.state = StageState::open;
  changed.amount = std::nullopt;
  changed.owner = "";
  changed.changed_at = std::nullopt;
  upsert({changed});
  EXPECT_EQ(load(1), changed);
}

TEST_P(OpportunityContract, TakesTheLastOfSeveralUnderOneId) {
  Opportunity first = opportunity(1);
  first.owner = "Bob";
  Opportunity of_other = opportunity(1, kOtherTenant);
  upsert({first, of_other, opportunity(2), opportunity(1)});
  EXPECT_EQ(load(1), opportunity(1));
  EXPECT_EQ(load(1, kOtherTenant), of_other);
  EXPECT_EQ(load(2), opportunity(2));
}

TEST_P(OpportunityContract, ShowsATransactionWhatItWroteItself) {
  upsert({opportunity(1)});
  const std::vector wanted{id<OpportunityId>(2), id<OpportunityId>(1), id<OpportunityId>(2)};
  EXPECT_OK(write([&](Transaction& t) -> Result<void> {
    auto found = value(t.opportunities().load(kTenant, wanted));
    EXPECT_EQ(found, (std::vector<std::optional<Opportunity>>{std::nullopt, opportunity(1), std::nullopt}));
    const Opportunity second = opportunity(2);
    EXPECT_OK(t.opportunities().upsert({&second, 1}));
    found = value(t.opportunities().load(kTenant, wanted));
    EXPECT_EQ(found, (std::vector<std::optional<Opportunity>>{second, opportunity(1), second}));
    return {};
  }));
}

TEST_P(OpportunityContract, LoadsInTheOrderAskedFor) {
  upsert({opportunity(1), opportunity(2), opportunity(3, kOtherTenant)});
  const std::vector wanted{id<OpportunityId>(2), id<OpportunityId>(3), id<OpportunityId>(1)};
  const auto found = value(read([&](const Transaction& t) { return t.opportunities().load(kTenant, wanted); }));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], opportunity(2));
  EXPECT_EQ(found[1], std::nullopt);
  EXPECT_EQ(found[2], opportunity(1));
}

TEST_P(OpportunityContract, LoadsThoseOfSeveralTenantsAtOnce) {
  upsert({opportunity(1), opportunity(2), opportunity(1, kOtherTenant)});
  const std::vector<store::OpportunityKey> keys{{kOtherTenant, id<OpportunityId>(1)},
                                                {kTenant, id<OpportunityId>(2)},
                                                {kOtherTenant, id<OpportunityId>(2)},
                                                {kTenant, id<OpportunityId>(1)},
                                                {kOtherTenant, id<OpportunityId>(1)}};
  const std::vector<std::optional<Opportunity>> expected{opportunity(1, kOtherTenant), opportunity(2), std::nullopt,
                                                         opportunity(1), opportunity(1, kOtherTenant)};
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.opportunities().load(keys); })), expected);
  EXPECT_EQ(value(write([&](Transaction& t) { return t.opportunities().load(keys); })), expected);
  EXPECT_TRUE(value(read([](const Transaction& t) {
                return t.opportunities().load(std::span<const store::OpportunityKey>());
              })).empty());
}

TEST_P(OpportunityContract, GivesTheClosedOnesOfATenantInTheOrderOfTheirIds) {
  Opportunity lost = opportunity(1);
  lost.state = StageState::lost;
  Opportunity open = opportunity(2);
  open.state = StageState::open;
  upsert({opportunity(3), open, lost, opportunity(4, kOtherTenant)});
  const auto closed = value(read([&](const Transaction& t) { return t.opportunities().closed(kTenant); }));
  EXPECT_EQ(closed, (std::vector{lost, opportunity(3)}));
}

TEST_P(OpportunityContract, PagesThroughTheClosedOnesOfAllTenants) {
  Opportunity lost = opportunity(2);
  lost.state = StageState::lost;
  Opportunity open = opportunity(4);
  open.state = StageState::open;
  upsert({opportunity(5, kOtherTenant), opportunity(3), open, lost, opportunity(1, kOtherTenant)});
  const std::vector expected{lost, opportunity(3), opportunity(1, kOtherTenant), opportunity(5, kOtherTenant)};
  const auto closed_after = [&](const std::optional<store::OpportunityKey>& after, std::size_t count_max) {
    return value(read([&](const Transaction& t) { return t.opportunities().closed_after(after, count_max); }));
  };
  EXPECT_EQ(closed_after(std::nullopt, 100), expected);
  std::vector<Opportunity> found;
  std::optional<store::OpportunityKey> after;
  for (;;) {
    const auto page = closed_after(after, 1);
    if (page.empty()) break;
    ASSERT_EQ(page.size(), 1U);
    ASSERT_LE(found.size(), expected.size());
    found.push_back(page[0]);
    after = store::OpportunityKey{page[0].tenant, page[0].id};
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(closed_after(store::OpportunityKey{kTenant, id<OpportunityId>(2)}, 2),
            (std::vector{opportunity(3), opportunity(1, kOtherTenant)}));
  EXPECT_EQ(closed_after(store::OpportunityKey{kTenant, id<OpportunityId>(9)}, 1),
            std::vector{opportunity(1, kOtherTenant)})
      << "behind a key that is not there";
}

TEST_P(OpportunityContract, RefusesWhatItCouldNotGiveBack) {
  struct Case {
    std::string field;
    std::function<void(Opportunity&)> spoil;
  };
  for (const auto& [field, spoil] : {
           Case{"name", [](Opportunity& o) { o.name = std::string("a\0b", 3); }},
           Case{"owner", [](Opportunity& o) { o.owner = "\xff"; }},
           Case{"amount", [](Opportunity& o) { o.amount = -1; }},
           Case{"amount", [](Opportunity& o) { o.amount = std::numeric_limits<double>::quiet_NaN(); }},
           Case{"listPrice", [](Opportunity& o) { o.list_price = std::numeric_limits<double>::infinity(); }},
           Case{"probability", [](Opportunity& o) { o.crm_probability = 1.01; }},
           Case{"closeOn", [](Opportunity& o) { o.close_on = *parse_date("9999-12-31") + std::chrono::days(1); }},
           Case{"changedAt", [](Opportunity& o) { o.changed_at = Timestamp::max(); }},
       }) {
    Opportunity bad = opportunity(2);
    spoil(bad);
    const auto outcome = try_upsert({opportunity(1), bad});
    ASSERT_FALSE(outcome) << field;
    EXPECT_EQ(outcome.error().code, ErrorCode::invalid_argument) << field;
    EXPECT_NE(outcome.error().message.find(field), std::string::npos) << outcome.error().message;
    EXPECT_NE(outcome.error().message.find(bad.id.to_string()), std::string::npos) << outcome.error().message;
  }
  EXPECT_EQ(load(1), std::nullopt) << "nothing of a batch is written that has a bad one";
}

TEST_P(OpportunityContract, KeepsNamedDocumentsOfEachTenant) {
  const auto put = [&](const TenantId& tenant, std::string_view name, std::string_view text) {
    return write([&](Transaction& t) { return t.opportunities().put_document(tenant, name, text); });
  };
  const auto document = [&](const TenantId& tenant, std::string_view name) {
    return value(read([&](const Transaction& t) { return t.opportunities().document(tenant, name); }));
  };
  EXPECT_EQ(document(kTenant, "model"), std::nullopt);
  const std::string large = fmt::format(R"({{"text":"{}"}})", std::string(1024 * 1024, 'z'));
  EXPECT_OK(put(kTenant, "model", "{}"));
  EXPECT_OK(put(kTenant, "model", large));
  EXPECT_OK(put(kTenant, "profile", R"({"p":1})"));
  EXPECT_OK(put(kOtherTenant, "model", R"({"other":1})"));
  EXPECT_ERROR(invalid_argument, put(kTenant, "model", std::string_view("\0", 1)));
  EXPECT_EQ(document(kTenant, "model"), large);
  EXPECT_EQ(document(kTenant, "profile"), R"({"p":1})");
  EXPECT_EQ(document(kOtherTenant, "model"), R"({"other":1})");
  EXPECT_EQ(document(kOtherTenant, "profile"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(EveryStore, OpportunityContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
