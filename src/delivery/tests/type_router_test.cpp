#include "delivery/type_router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus/tests/samples.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using bus::samples::event;
using testing::ElementsAre;
using testing::IsEmpty;

/// Notes which messages were prepared, written and committed.
class NotingHandler final : public Handler {
 public:
  Result<Apply> prepare(std::span<const bus::Delivery> batch) override {
    if (error) return std::unexpected(*error);
    prepared.clear();
    for (const auto& delivery : batch) prepared.push_back(delivery.event->type());
    return [this](store::Transaction&) -> Result<void> {
      written = prepared;
      return {};
    };
  }
  void committed() override { ++commits; }

  std::optional<Error> error;
  std::vector<std::string> prepared;
  std::vector<std::string> written;
  int commits = 0;
};

class TypeRouterTest : public testing::Test {
 protected:
  Result<void> handle(std::vector<std::string> types) {
    std::vector<bus::Delivery> batch(types.size());
    for (std::size_t i = 0; i < types.size(); ++i) batch[i].event = event(types[i], static_cast<int>(i) + 1, "{}");
    auto apply = router_.prepare(batch);
    if (!apply) return std::unexpected(apply.error());
    batch.clear();  // it keeps what it needs
    TRY(fixture_.store().transact([&](store::Transaction& transaction) { return (*apply)(transaction); }));
    router_.committed();
    return {};
  }

  SystemClock clock_;
  sqlite::Fixture fixture_{clock_};
  NotingHandler general_;
  NotingHandler special_;
  TypeRouter router_{general_, special_, {"job.completed", "job.failed"}};
};

TEST_F(TypeRouterTest, GivesEachHandlerItsTypesInOrder) {
  ASSERT_TRUE(handle({"step.completed", "job.failed", "trigger", "job.completed", "job.failed"}));
  EXPECT_THAT(general_.written, ElementsAre("step.completed", "trigger"));
  EXPECT_THAT(special_.written, ElementsAre("job.failed", "job.completed", "job.failed"));
  EXPECT_EQ(general_.commits, 1);
  EXPECT_EQ(special_.commits, 1);
}

TEST_F(TypeRouterTest, LeavesAHandlerAloneWhomNothingConcerns) {
  ASSERT_TRUE(handle({"step.completed"}));
  EXPECT_THAT(special_.prepared, IsEmpty());
  EXPECT_EQ(special_.commits, 0);
  ASSERT_TRUE(handle({"job.completed"}));
  EXPECT_EQ(general_.commits, 1);
  EXPECT_EQ(special_.commits, 1);
}

TEST_F(TypeRouterTest, FailsAsTheHandlerFailedAndTellsNobodyOfACommit) {
  special_.error = Error{ErrorCode::conflict, "somebody was faster"};
  const auto handled = handle({"step.completed", "job.failed"});
  ASSERT_FALSE(handled);
  EXPECT_EQ(handled.error(), *special_.error);
  EXPECT_THAT(general_.written, IsEmpty());
  EXPECT_EQ(general_.commits, 0);
}

}  // namespace
}  // namespace wfo::delivery
