#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace wfo {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::corruption:
      return "corruption";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

Error with_context(Error error, std::string_view context) {
  error.message = fmt::format("{}: {}", context, error.message);
  return error;
}

namespace detail {
void invariant_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, expression);
  std::fflush(stderr);
  std::abort();
}
}  // namespace detail

}  // namespace wfo
