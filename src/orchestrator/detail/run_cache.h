#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "store/run_store.h"

namespace wfo::orchestrator {

/// Active runs as they were committed, so that an answer needs no read. What is taken out is gone until somebody puts
/// a committed state back: a state that was never committed must not be believed. It may be outdated, since others
/// write too; the version tells when it matters. Bounded by count and by bytes, the longest unused go first. Any
/// thread.
class RunCache {
 public:
  RunCache(std::size_t runs_max, std::size_t bytes_max) : runs_max_(runs_max), bytes_max_(bytes_max) {}

  [[nodiscard]] std::optional<store::StoredRun> take(const WorkflowId& id);
  /// Of two states of one run the newer one stays. A run that has ended is not kept.
  void put(store::StoredRun run);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    store::StoredRun stored;
    std::size_t bytes;
  };
  using Entries = std::list<Entry>;
  void remove(Entries::iterator entry);

  const std::size_t runs_max_;
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;  // guards what follows
  Entries entries_;           // the latest used first
  std::unordered_map<WorkflowId, Entries::iterator> by_id_;
  std::size_t bytes_ = 0;
};

}  // namespace wfo::orchestrator
