#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "events/contracts.h"
#include "store/event_log.h"
#include "store/ledger_store.h"
#include "store/store.h"

/// What every store and every ledger must do, whatever holds their data. A new implementation is one more line in
/// stores.cpp; the tests stay as they are.
namespace wfo::contract {

/// An installation of one store, empty at first.
class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual store::Store& store() = 0;
  virtual store::LogReader& log() = 0;
  /// The process ends and starts again: what is not durable is gone, and so are references from before.
  virtual void restart() = 0;
};
struct StoreUnderTest {
  std::string name;
  bool outbox = false;  // what is appended to its log awaits publication
  /// Leases run on the clock, too.
  std::function<std::unique_ptr<StoreHarness>(const events::Contracts&, const Clock&)> make;
  friend std::ostream& operator<<(std::ostream& out, const StoreUnderTest& one) { return out << one.name; }
};
/// Every store that there is.
[[nodiscard]] std::vector<StoreUnderTest> stores();

class LedgerHarness {
 public:
  virtual ~LedgerHarness() = default;
  virtual store::LedgerStore& ledger() = 0;
  virtual void restart() = 0;
};
struct LedgerUnderTest {
  std::string name;
  std::function<std::unique_ptr<LedgerHarness>(const Clock&)> make;
  friend std::ostream& operator<<(std::ostream& out, const LedgerUnderTest& one) { return out << one.name; }
};
/// Every ledger that there is.
[[nodiscard]] std::vector<LedgerUnderTest> ledgers();

/// For INSTANTIATE_TEST_SUITE_P.
template <class UnderTest>
std::string name_of(const testing::TestParamInfo<UnderTest>& info) {
  return info.param.name;
}

// Samples. Ids made of greater numbers are greater, as those of younger things are.

inline const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
inline const TenantId kOtherTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a02");
inline const Timestamp kStart = *parse_timestamp("2026-03-01T09:30:00.000Z");

template <class T>
T id(std::uint32_t n) {
  Uuid uuid = T::parse("0195504e-0000-7000-8000-000000000000")->value();
  for (int i = 0; i < 4; ++i) uuid.bytes[static_cast<std::size_t>(15 - i)] = static_cast<std::uint8_t>(n >> (8 * i));
  return T(uuid);
}
[[nodiscard]] inline Timestamp at(int seconds) { return kStart + std::chrono::seconds(seconds); }

[[nodiscard]] const events::Contracts& contracts();
/// An event of a type without contract, with id<EventId>(n).
[[nodiscard]] events::EventPtr event(std::string_view type, std::uint32_t n, std::string_view data = "{}",
                                     const TenantId& tenant = kTenant, Timestamp timestamp = kStart);

struct AllTypes final : store::TypeFilter {
  [[nodiscard]] bool wants(std::string_view) const override { return true; }
};
class OneType final : public store::TypeFilter {
 public:
  explicit OneType(std::string type) : type_(std::move(type)) {}
  [[nodiscard]] bool wants(std::string_view type) const override { return type == type_; }

 private:
  std::string type_;
};

/// The value; a test that needs it fails without.
template <class T>
T value(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << name(result.error().code) << ": " << result.error().message;
    return T{};
  }
  return *std::move(result);
}
template <class T>
void expect_ok(const Result<T>& result, const char* expression, const char* file, int line) {
  if (!result) ADD_FAILURE_AT(file, line) << expression << ": " << result.error().message;
}
template <class T>
void expect_error(ErrorCode code, const Result<T>& result, const char* expression, const char* file, int line) {
  if (result) {
    ADD_FAILURE_AT(file, line) << expression << " did not fail";
  } else if (result.error().code != code) {
    ADD_FAILURE_AT(file, line) << expression << ": " << name(result.error().code) << ": " << result.error().message;
  }
}
#define EXPECT_OK(expression) ::wfo::contract::expect_ok((expression), #expression, __FILE__, __LINE__)
#define EXPECT_ERROR(code, expression) \
  ::wfo::contract::expect_error(ErrorCode::code, (expression), #expression, __FILE__, __LINE__)

class StoreContract : public testing::TestWithParam<StoreUnderTest> {
 protected:
  store::Store& store() { return harness_->store(); }
  store::LogReader& log() { return harness_->log(); }

  /// `body`'s Result, out of a transaction of its own.
  template <class Body>
  auto write(Body body) {
    using Outcome = std::invoke_result_t<Body, store::Transaction&>;
    std::optional<Outcome> outcome;
    const auto done = store().transact([&](store::Transaction& transaction) -> Result<void> {
      outcome = body(transaction);
      if (!*outcome) return std::unexpected(outcome->error());
      return {};
    });
    return done ? *std::move(outcome) : Outcome(std::unexpected(done.error()));
  }
  template <class Body>
  auto read(Body body) {
    using Outcome = std::invoke_result_t<Body, const store::Transaction&>;
    std::optional<Outcome> outcome;
    const auto done = store().read([&](const store::Transaction& transaction) -> Result<void> {
      outcome = body(transaction);
      if (!*outcome) return std::unexpected(outcome->error());
      return {};
    });
    return done ? *std::move(outcome) : Outcome(std::unexpected(done.error()));
  }
  void append(std::vector<events::EventPtr> batch) {
    EXPECT_OK(write([&](store::Transaction& transaction) { return transaction.log().append(batch); }));
  }
  /// All that the log holds behind `after`.
  std::vector<store::LogEntry> entries(store::Sequence after = 0) {
    return value(log().read(after, AllTypes(), 1'000'000, std::size_t{1} << 30)).entries;
  }

  ManualClock clock_{kStart};
  std::unique_ptr<StoreHarness> harness_ = GetParam().make(contracts(), clock_);
};

}  // namespace wfo::contract
