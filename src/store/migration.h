#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace wfo::store {

/// A step from one schema to the next.
struct Migration {
  int number;            // 1, 2, 3, … without gaps
  std::string_view sql;  // never edited once released
};

/// The files `0001_….sql`, `0002_….sql`, … (`name` and `text`, as `wfo_embed` compiles them in) as migrations, in
/// order. Bad names are our bug.
template <class Files>
[[nodiscard]] std::vector<Migration> as_migrations(const Files& files) {
  std::vector<Migration> migrations;
  for (const auto& file : files) {
    int number = 0;
    for (const char c : file.name.substr(0, 4)) number = number * 10 + (c - '0');
    migrations.push_back({number, file.text});
    INVARIANT(number == static_cast<int>(migrations.size()));
  }
  return migrations;
}

}  // namespace wfo::store
