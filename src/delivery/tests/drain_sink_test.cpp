#include "delivery/drain_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::SizeIs;

TEST(ReasonOfDeath, SaysWhyTheBrokerTookAMessageOutOfTheQueue) {
  struct Row {
    std::string_view headers;
    std::string_view said;
  };
  const std::array rows{
      Row{R"({"x-death":[{"count":1,"reason":"expired","queue":"q","exchange":"e"}]})",
          "the broker took it out of queue 'q': expired"},
      Row{R"({"x-death":[{"count":3,"reason":"rejected","queue":"q"}]})", "(3 times)"},
      Row{R"({"x-death":[{"reason":"expired","queue":"other"},{"reason":"maxlen","queue":"q"}]})", "maxlen"},
      Row{R"({"x-death":[{"reason":"delivery_limit","queue":"other"}]})", "queue 'other': delivery_limit"},
      Row{R"({"x-death":[{"reason":"a new one","queue":"q"}]})", "a new one"},
  };
  for (const auto& row : rows) EXPECT_THAT(reason_of_death(row.headers, "q"), HasSubstr(row.said)) << row.headers;
}

TEST(ReasonOfDeath, SaysNothingWhereTheHeadersDoNot) {
  for (const auto* headers : {"{}", "", "not json", R"({"x-death":"odd"})", R"({"x-death":[]})", R"({"x-death":[7]})",
                              R"({"x-death":[{"reason":7,"queue":[]}]})"}) {
    EXPECT_EQ(reason_of_death(headers, "q"), "") << headers;
  }
}

class DrainSinkTest : public testing::Test {
 protected:
  DrainSinkTest() { queue_.redelivers = true; }
  void drain() {
    while (!queue_.waiting.empty()) {
      const auto settled = loop_.run_once(0ms);
      ASSERT_TRUE(settled) << settled.error().message;
    }
  }
  static bus::Delivery dead(events::EventPtr event, std::string headers) {
    bus::Delivery delivery;
    delivery.event = std::move(event);
    delivery.headers = std::move(headers);
    return delivery;
  }
  std::vector<store::DeadLetter> letters() {
    std::vector<store::DeadLetter> letters;
    const auto read = fixture_.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(letters, transaction.dead_letters().list({}));
      return {};
    });
    EXPECT_TRUE(read) << read.error().message;
    return letters;
  }

  static constexpr const char* kExpired = R"({"x-death":[{"count":1,"reason":"expired","queue":"orders"}]})";
  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  fakes::ManualWaiter waiter_{clock_};
  SystemIdSource ids_{clock_};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_};
  fakes::Queue queue_;
  DrainSink sink_{fixture_.store(), "orders", ids_, clock_};
  ConsumerLoop loop_{
      std::make_unique<fakes::QueueConsumer>(queue_), sink_, {}, clock_, waiter_, Logger::silent(), metrics_};
};

TEST_F(DrainSinkTest, SetsEachMessageAsideAsOneOfTheQueueThatItFellOutOf) {
  queue_.add(dead(bus::samples::event("order.placed", 1), kExpired));
  bus::Delivery unreadable;
  unreadable.unreadable_bytes = "\xff{";
  unreadable.unreadable_reason = "not JSON";
  queue_.add(unreadable);
  drain();
  const auto found = letters();
  ASSERT_THAT(found, SizeIs(2));
  const auto& event = found[0].type.empty() ? found[1] : found[0];
  const auto& odd = found[0].type.empty() ? found[0] : found[1];
  EXPECT_EQ(event.queue, "orders");
  EXPECT_EQ(event.type, "order.placed");
  EXPECT_EQ(event.tenant, bus::samples::kTenant);
  EXPECT_EQ(event.headers, kExpired);
  EXPECT_EQ(event.bytes, bus::samples::event_text("order.placed", 1));
  EXPECT_THAT(event.reason, HasSubstr("expired"));
  EXPECT_EQ(odd.queue, "orders");
  EXPECT_EQ(odd.bytes, "\xff{");
  EXPECT_EQ(odd.tenant, system_tenant());
  EXPECT_THAT(odd.reason, HasSubstr("not JSON"));
  EXPECT_THAT(odd.reason, HasSubstr("does not say why"));
  EXPECT_THAT(queue_.acknowledged, SizeIs(2));
}

TEST_F(DrainSinkTest, SetsAMessageAsideOnceThoughItsAcknowledgementIsLost) {
  queue_.add(dead(bus::samples::event("order.placed", 1), kExpired));
  queue_.acknowledge_error = "the connection broke";
  EXPECT_FALSE(loop_.run_once(0ms));
  queue_.acknowledge_error.clear();
  drain();
  EXPECT_THAT(letters(), SizeIs(1));
  EXPECT_THAT(queue_.acknowledged, SizeIs(1));
}

TEST_F(DrainSinkTest, DropsWhatHadTakenEffectBeforeItFellOut) {
  const auto event = bus::samples::event("order.placed", 1);
  const store::InboxKey key{event->tenant(), event->id(), short_digest(event->bytes())};
  ASSERT_TRUE(fixture_.store().transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(transaction.inbox().record("orders", {&key, 1}, clock_.now()));
    return {};
  }));
  queue_.add(dead(event, kExpired));
  drain();
  EXPECT_THAT(letters(), SizeIs(0));
  EXPECT_THAT(queue_.acknowledged, SizeIs(1));
}

}  // namespace
}  // namespace wfo::delivery
