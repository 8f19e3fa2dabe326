#pragma once

#include <span>
#include <string>
#include <vector>

#include "delivery/consumer_loop.h"

namespace wfo::delivery {

/// Two handlers on one queue: events of `types` go to `special`, all others to `general`. What both do with a batch is
/// one transaction. One thread.
class TypeRouter final : public Handler {
 public:
  TypeRouter(Handler& general, Handler& special, std::vector<std::string> types)
      : general_(general), special_(special), types_(std::move(types)) {}
  [[nodiscard]] Result<Apply> prepare(std::span<const bus::Delivery> batch) override;
  void committed() override;

 private:
  [[nodiscard]] bool is_special(const bus::Delivery& delivery) const;

  Handler& general_;
  Handler& special_;
  const std::vector<std::string> types_;
  // Whom the batch in hand concerned.
  bool general_prepared_ = false;
  bool special_prepared_ = false;
};

}  // namespace wfo::delivery
