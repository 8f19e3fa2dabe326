#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace wfo {

/// What the caller should do next; the message says which thing and which value.
enum class ErrorCode {
  invalid_argument,  // mend the request: sending the same again gives the same answer
  not_found,         // the thing named does not exist (in this tenant)
  conflict,          // the thing exists in a state that does not allow this
  unavailable,       // a disk, server or bound said no for now: try again later
  corruption,        // stored data is not what was written: stop and look
  internal,          // our own bug: nothing was committed
};

[[nodiscard]] std::string_view name(ErrorCode code);

struct Error {
  ErrorCode code;
  std::string message;
  friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// The same error with `context` in front of its message.
[[nodiscard]] Error with_context(Error error, std::string_view context);

namespace detail {
[[noreturn]] void invariant_failed(const char* expression, const char* file, int line);
}

}  // namespace wfo

/// Guards against our own bugs, in release builds too, and ends the process; never judges input.
#define INVARIANT(expression) \
  ((expression) ? static_cast<void>(0) : ::wfo::detail::invariant_failed(#expression, __FILE__, __LINE__))

#define WFO_CONCAT_(a, b) a##b
#define WFO_CONCAT(a, b) WFO_CONCAT_(a, b)

/// Returns the error of `expression` to the caller, if it has one. (__COUNTER__ and not __LINE__: a whole lambda with
/// TRYs of its own may be the argument of one, and then all of them stand on one line.)
#define TRY(expression) WFO_TRY(WFO_CONCAT(wfo_try_, __COUNTER__), expression)
#define WFO_TRY(result, expression)                                                             \
  do {                                                                                          \
    if (auto result = (expression); !result) return std::unexpected(std::move(result).error()); \
  } while (false)

/// `TRY_ASSIGN(const auto x, f());`: x is the value of f(), or the caller gets its error.
#define TRY_ASSIGN(declaration, expression) WFO_TRY_ASSIGN(WFO_CONCAT(wfo_try_, __COUNTER__), declaration, expression)
#define WFO_TRY_ASSIGN(temporary, declaration, expression)              \
  auto temporary = (expression);                                        \
  if (!temporary) return std::unexpected(std::move(temporary).error()); \
  declaration = *std::move(temporary)
