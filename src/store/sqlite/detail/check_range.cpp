#include "store/sqlite/detail/check_range.h"

namespace wfo::store::sqlite {

Result<void> check_range(std::string_view thing, std::string_view field, std::int64_t value, std::int64_t min,
                         std::int64_t max) {
  if (value >= min && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{}: {} is {}; allowed: {} to {}", thing, field, value, min, max);
}

Result<void> check_page_bytes(std::string_view thing, int page_bytes) {
  if (page_bytes >= 512 && page_bytes <= 65'536 && (page_bytes & (page_bytes - 1)) == 0) return {};
  return fail(ErrorCode::invalid_argument, "{}: page_bytes is {}; allowed: powers of two from 512 to 65536", thing,
              page_bytes);
}

}  // namespace wfo::store::sqlite
