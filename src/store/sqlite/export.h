#pragma once

#include <memory>

#include "store/sqlite/data_directory.h"
#include "store/transfer.h"

namespace wfo::store::sqlite {

/// A data directory as the source of a move.
class SqliteExport final : public TransferSource {
 public:
  /// Whether there is an installation in the folder.
  [[nodiscard]] static bool exists(const std::filesystem::path& folder);
  /// Brings the files to the newest schema, as serving would. `directory` must outlive the export. Errors: `not_found`
  /// there is no installation in it, or no ledger; `conflict` its schema is newer than this program; `unavailable`;
  /// `corruption`.
  [[nodiscard]] static Result<std::unique_ptr<SqliteExport>> open(const DataDirectory& directory);
  ~SqliteExport() override;

  std::string description() const override;
  Result<std::int64_t> count(TransferTable table) override;
  Result<void> read(TransferTable table, FunctionRef<Result<void>(const TransferRow& row)> take) override;
  Result<Log> log() override;
  Result<std::vector<std::pair<std::string, Sequence>>> positions() override;
  Result<std::optional<std::string>> moved_to() override;
  Result<void> mark_moved(std::string_view target) override;

 private:
  struct State;
  explicit SqliteExport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::store::sqlite
