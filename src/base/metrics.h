#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace wfo {

using Labels = std::map<std::string, std::string>;

/// Counts up. Any thread; one atomic add.
class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double amount = 1) = 0;
  [[nodiscard]] virtual double value() const = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;
};

/// The installation's numbers, in Prometheus' text format. What it returns lives as long as it does; ask for a number
/// once and keep the reference. Label values come from a fixed set, never from input. Any thread.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  /// Buckets in seconds, from 0.5 ms to 10 s.
  Histogram& histogram(std::string_view name, std::string_view help, const Labels& labels = {});
  /// With buckets of its own: their upper bounds, ascending, in the unit that the name says.
  Histogram& histogram(std::string_view name, std::string_view help, const Labels& labels,
                       std::span<const double> buckets);
  /// `read` is called for each scrape.
  void gauge_from(std::string_view name, std::string_view help, std::function<double()> read);
  [[nodiscard]] std::string text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wfo
