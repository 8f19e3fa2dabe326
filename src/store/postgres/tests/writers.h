#pragma once

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "store/postgres/tests/fixtures.h"
#include "support/eventually.h"

namespace wfo::store::postgres {

/// Threads that write one thing after the other, each until it is acknowledged, whatever becomes of the server.
class Writers {
 public:
  explicit Writers(PostgresStore& store) : store_(store) {
    for (int writer = 0; writer < kWriters; ++writer) {
      threads_.emplace_back([this, writer] { write(writer); });
    }
  }
  ~Writers() { stop_ = true; }

  /// Waits until they have got on.
  [[nodiscard]] bool progress() {
    const auto before = acknowledged_[0].load();
    return test::eventually([&] { return acknowledged_[0] > before + 20; });
  }
  /// Stops them. How much each has written is its position; the sum of those.
  std::int64_t stop() {
    stop_ = true;
    threads_.clear();
    std::int64_t total = 0;
    for (int writer = 0; writer < kWriters; ++writer) {
      const auto acknowledged = acknowledged_[static_cast<std::size_t>(writer)].load();
      const auto reached = reached_by(writer);
      EXPECT_GE(reached, acknowledged);
      EXPECT_LE(reached, acknowledged + 1) << "the last one's outcome may not be known";
      total += reached;
    }
    return total;
  }

 private:
  static constexpr int kWriters = 4;
  static std::string name(int writer) { return fmt::format("writer {}", writer); }

  void write(int writer) {
    for (std::int64_t n = 1; !stop_;) {
      const auto done = store_.transact([&](Transaction& t) -> Result<void> {
        TRY_ASSIGN(const auto before, t.positions().get(name(writer)));
        // One whose outcome nobody knew may have taken effect; that is for the inbox, here for the position.
        if (before >= n) return {};
        EXPECT_EQ(before, n - 1);
        TRY(t.positions().set(name(writer), n));
        return t.log().append(std::vector{event(writer * 1'000'000 + n)});
      });
      if (done) {
        acknowledged_[static_cast<std::size_t>(writer)] = n++;
      } else {
        EXPECT_EQ(done.error().code, ErrorCode::unavailable) << done.error().message;
        std::this_thread::yield();
      }
    }
  }
  std::int64_t reached_by(int writer) {
    std::int64_t reached = -1;
    const auto done = store_.read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(reached, t.positions().get(name(writer)));
      return {};
    });
    EXPECT_TRUE(done) << error_of(done);
    return reached;
  }

  PostgresStore& store_;
  std::atomic<bool> stop_{false};
  std::array<std::atomic<std::int64_t>, kWriters> acknowledged_{};
  std::vector<std::jthread> threads_;
};

}  // namespace wfo::store::postgres
