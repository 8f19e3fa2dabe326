#include "app/files.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace wfo::app {
namespace {

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

std::unexpected<Error> cannot_read(const std::filesystem::path& file, int reason) {
  const ErrorCode code = reason == ENOENT || reason == ENOTDIR ? ErrorCode::not_found
                         : reason == EISDIR                    ? ErrorCode::invalid_argument
                                                               : ErrorCode::unavailable;
  return fail(code, "'{}' cannot be read: {}", file.string(), std::generic_category().message(reason));
}

}  // namespace

// Not a std::ifstream: that opens folders, and throws when one is read.
Result<std::string> read_file(const std::filesystem::path& file) {
  const std::unique_ptr<std::FILE, Close> stream(std::fopen(file.c_str(), "rbe"));
  if (!stream) return cannot_read(file, errno);
  std::string text;
  char buffer[65536];
  for (;;) {
    const std::size_t count = std::fread(buffer, 1, sizeof buffer, stream.get());
    text.append(buffer, count);
    if (count == sizeof buffer) continue;
    if (std::ferror(stream.get()) != 0) return cannot_read(file, errno);
    return text;
  }
}

}  // namespace wfo::app
