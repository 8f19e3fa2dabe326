#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wfo::app {

/// `text` with `***` in the place of each password that it holds: of a URL (`amqp://user:***@host`), of a parameter
/// (`?password=***`, `&sslpassword=***`) and of a connection string (`password=***`, quoted or not). Where it is not
/// plain how far a password goes, more is hidden rather than less. For values of settings and for whatever a person
/// typed.
[[nodiscard]] std::string redacted(std::string_view text);

/// The passwords that `redacted` finds in `text`, as they stand there.
[[nodiscard]] std::vector<std::string> secrets_in(std::string_view text);

/// `message` without the `secrets` (those of at least 3 characters; shorter ones stand in other words, too): for errors
/// of libraries, which may name what they were given.
[[nodiscard]] std::string without(std::string message, const std::vector<std::string>& secrets);

}  // namespace wfo::app
