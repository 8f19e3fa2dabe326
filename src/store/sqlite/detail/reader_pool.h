#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace wfo::store::sqlite {

/// A fixed number of connections for reading, each lent to one caller at a time. Any thread.
template <class Reader>
class ReaderPool {
 public:
  class Lease {
   public:
    Lease(ReaderPool& pool, std::unique_ptr<Reader> reader) : pool_(pool), reader_(std::move(reader)) {}
    ~Lease() { pool_.give_back(std::move(reader_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Reader& operator*() const { return *reader_; }
    Reader* operator->() const { return reader_.get(); }

   private:
    ReaderPool& pool_;
    std::unique_ptr<Reader> reader_;
  };

  void add(std::unique_ptr<Reader> reader) { give_back(std::move(reader)); }
  /// Waits until one is free.
  [[nodiscard]] Lease take() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !idle_.empty(); });
    auto reader = std::move(idle_.back());
    idle_.pop_back();
    return Lease(*this, std::move(reader));
  }

 private:
  void give_back(std::unique_ptr<Reader> reader) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(reader));
    given_back_.notify_one();
  }
  std::mutex mutex_;  // guards idle_
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Reader>> idle_;
};

}  // namespace wfo::store::sqlite
