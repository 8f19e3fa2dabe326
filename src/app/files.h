#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace wfo::app {

/// The bytes of a file that a command or a setting names. Errors, each with the path and the system's reason:
/// `not_found` there is no such file; `invalid_argument` it is a folder; `unavailable` it cannot be read.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file);

}  // namespace wfo::app
