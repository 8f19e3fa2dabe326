#include "ledger/ledger_progress.h"

#include "bus/topic.h"
#include "ledger/ledger_sink.h"

namespace wfo::ledger {
namespace {

constexpr milliseconds kPause{2};  // the ledger commits in about that time

/// Whether no entry beyond `position`, up to `last`, is for the ledger.
Result<bool> lacks_nothing(store::LogReader& log_reader, const store::TypeFilter& filter, store::Sequence position,
                           store::Sequence last) {
  while (position < last) {
    TRY_ASSIGN(const store::LogPage page, log_reader.read(position, filter, 1, 1));
    if (!page.entries.empty()) return page.entries.front().sequence > last;
    if (page.read_through <= position) return true;
    position = page.read_through;
  }
  return true;
}

}  // namespace

// The position alone does not tell: entries that do not concern the ledger are passed without moving it.
Result<bool> LedgerProgress::catch_up(milliseconds limit, std::stop_token stop) const {
  const bus::TopicFilter filter(bindings_);
  const store::Sequence last = log_reader_.last();
  for (milliseconds waited{0};; waited += kPause) {
    TRY_ASSIGN(const store::Sequence position, ledger_.position(kQueue));
    TRY_ASSIGN(const bool has_all, lacks_nothing(log_reader_, filter, position, last));
    if (has_all) return true;
    if (waited >= limit || !waiter_.wait(kPause, stop)) return false;
  }
}

}  // namespace wfo::ledger
