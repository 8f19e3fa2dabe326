#include "delivery/type_router.h"

#include <algorithm>

namespace wfo::delivery {

bool TypeRouter::is_special(const bus::Delivery& delivery) const {
  return std::ranges::find(types_, delivery.event->type()) != types_.end();
}

Result<Handler::Apply> TypeRouter::prepare(std::span<const bus::Delivery> batch) {
  general_prepared_ = special_prepared_ = false;
  const auto special_count =
      std::ranges::count_if(batch, [this](const auto& delivery) { return is_special(delivery); });
  if (special_count == 0 || static_cast<std::size_t>(special_count) == batch.size()) {
    // Nearly always: nothing need be copied.
    Handler& handler = special_count == 0 ? general_ : special_;
    TRY_ASSIGN(Apply apply, handler.prepare(batch));
    (special_count == 0 ? general_prepared_ : special_prepared_) = true;
    return apply;
  }
  std::vector<bus::Delivery> for_general;
  std::vector<bus::Delivery> for_special;
  for (const auto& delivery : batch) (is_special(delivery) ? for_special : for_general).push_back(delivery);
  TRY_ASSIGN(Apply general, general_.prepare(for_general));
  TRY_ASSIGN(Apply special, special_.prepare(for_special));
  general_prepared_ = special_prepared_ = true;
  // What they return may refer to the deliveries.
  return Apply([general = std::move(general), special = std::move(special), for_general = std::move(for_general),
                for_special = std::move(for_special)](store::Transaction& transaction) mutable -> Result<void> {
    TRY(general(transaction));
    return special(transaction);
  });
}

void TypeRouter::committed() {
  if (general_prepared_) general_.committed();
  if (special_prepared_) special_.committed();
  general_prepared_ = special_prepared_ = false;
}

}  // namespace wfo::delivery
