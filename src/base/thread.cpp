#include "base/thread.h"

#include <pthread.h>

#include <string>

namespace wfo {

void name_this_thread(std::string_view name) {
  constexpr std::size_t kNameBytesMax = 15;  // the kernel's bound
  pthread_setname_np(pthread_self(), std::string(name.substr(0, kNameBytesMax)).c_str());
}

}  // namespace wfo
