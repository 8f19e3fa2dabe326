#pragma once

#include <string_view>

namespace wfo {

/// The calling thread's name as the system's tools show it (`top -H`, `perf`): the first 15 bytes of `name`.
void name_this_thread(std::string_view name);

}  // namespace wfo
