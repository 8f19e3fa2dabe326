#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"

namespace wfo::events::tests {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) ADD_FAILURE() << "cannot read " << path;
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// What lies in `folder`, sorted.
inline std::vector<std::filesystem::path> entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

inline json::Document parsed(std::string text) {
  auto document = json::Document::parse(std::move(text));
  if (!document) throw std::invalid_argument(document.error().message);
  return *std::move(document);
}

inline std::filesystem::path contracts_folder() { return std::filesystem::path(WFO_SOURCE_DIR) / "contracts/events"; }

struct Example {
  std::filesystem::path path;
  std::string type;
  bool is_valid;
  std::string text;
};

inline std::vector<Example> examples() {
  std::vector<Example> found;
  for (const auto& folder : entries(contracts_folder() / "examples")) {
    for (const auto& path : entries(folder)) {
      const std::string file = path.filename().string();
      const bool is_valid = file.starts_with("valid-");
      EXPECT_TRUE(is_valid || file.starts_with("invalid-")) << path;
      found.push_back({path, folder.filename().string(), is_valid, read_file(path)});
    }
  }
  return found;
}

}  // namespace wfo::events::tests
