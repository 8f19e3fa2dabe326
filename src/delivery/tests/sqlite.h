#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/tests/samples.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"

namespace wfo::delivery::sqlite {

struct AllTypes final : store::TypeFilter {
  bool wants(std::string_view) const override { return true; }
};

/// A store on SQLite in a folder of its own.
class Fixture {
 public:
  /// `outbox`: what is appended awaits publication.
  explicit Fixture(const Clock& clock, bool outbox = false) : clock_(clock), outbox_(outbox) { open(); }

  store::Store& store() { return *store_; }
  store::LogReader& log() { return *store_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_.path(); }

  /// As a process that ends and starts again would find it. References from `store` and `log` are void then.
  void reopen() {
    close();
    open();
  }
  void close() { store_.reset(); }
  void open() {
    store::sqlite::SqliteStoreConfig config;
    config.directory = folder_.path();
    config.disk_free_min_bytes = 0;
    config.outbox = outbox_;
    auto opened =
        store::sqlite::SqliteStore::open(config, bus::samples::contracts(), clock_, Logger::silent(), metrics_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(opened).value();
  }

  /// What the log holds.
  std::vector<store::LogEntry> entries() {
    const auto page = store_->read(0, AllTypes(), 100'000, std::size_t{1} << 30);
    EXPECT_TRUE(page) << page.error().message;
    return page ? page->entries : std::vector<store::LogEntry>{};
  }
  std::vector<events::EventPtr> published() {
    std::vector<events::EventPtr> events;
    for (const auto& entry : entries()) events.push_back(entry.event);
    return events;
  }
  /// The sequences that stand in the file; the store may remember more.
  std::vector<store::Sequence> sequences_in_file() const {
    sqlite3* file = nullptr;
    sqlite3_stmt* select = nullptr;
    EXPECT_EQ(sqlite3_open_v2((folder() / "wfo.db").c_str(), &file, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(file, "SELECT sequence FROM log ORDER BY 1", -1, &select, nullptr), SQLITE_OK);
    std::vector<store::Sequence> sequences;
    while (sqlite3_step(select) == SQLITE_ROW) sequences.push_back(sqlite3_column_int64(select, 0));
    sqlite3_finalize(select);
    sqlite3_close(file);
    return sequences;
  }
  void append(std::span<const events::EventPtr> events) {
    const auto done = store_->transact([&](auto& transaction) { return transaction.log().append(events); });
    ASSERT_TRUE(done) << done.error().message;
  }

 private:
  test::TemporaryDirectory folder_;
  const Clock& clock_;
  const bool outbox_;
  Metrics metrics_;
  std::unique_ptr<store::sqlite::SqliteStore> store_;
};

/// Another store, away whenever the test wants it to be.
class FaultyStore final : public store::Store {
 public:
  explicit FaultyStore(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    if (error) return std::unexpected(*error);
    return store_.transact(body);
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override {
    if (error) return std::unexpected(*error);
    return store_.read(body);
  }
  Result<void> admission() override {
    if (error) return std::unexpected(*error);
    return store_.admission();
  }

  std::optional<Error> error;  // the answer to every call, while set

 private:
  store::Store& store_;
};

}  // namespace wfo::delivery::sqlite
