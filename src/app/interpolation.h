#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace wfo::app {

/// `text` with ${NAME} and ${NAME:-default} replaced from `environment`, where a variable that is empty counts as none,
/// and $${ by ${. The names of those that the environment has are added to `used`. Errors: `invalid_argument` a name
/// that is not set and has no default; a brace that is not closed.
[[nodiscard]] Result<std::string> interpolate(std::string_view text,
                                              const std::map<std::string, std::string>& environment,
                                              std::vector<std::string>* used = nullptr);
/// Such that `interpolate` gives `text` back.
[[nodiscard]] std::string without_interpolation(std::string_view text);

}  // namespace wfo::app
