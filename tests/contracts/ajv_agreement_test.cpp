#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

#include "events/contracts.h"
#include "events/tests/mutations.h"

// Our validator and ajv, which is what most other teams have, say the same about thousands of nearly valid events.

namespace wfo::events {
namespace {

constexpr int kEvents = 5'000;

std::string one_line(std::string text) {
  std::erase(text, '\n');  // between tokens only: in a string it would have to be escaped
  return text;
}

std::vector<std::string> verdicts_of_ajv(const std::vector<std::string>& events) {
  const std::filesystem::path folder = std::filesystem::path(WFO_SOURCE_DIR) / "tests/contracts/ajv";
  std::string path = (std::filesystem::temp_directory_path() / "wfo-ajv-XXXXXX").string();
  const int file = mkstemp(path.data());
  EXPECT_GE(file, 0) << path;
  close(file);
  {
    std::ofstream stream(path, std::ios::binary);
    for (const std::string& event : events) stream << event << '\n';
  }
  const std::string command = "node '" + (folder / "verdicts.mjs").string() + "' < '" + path + "'";
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr) << command;
  char buffer[4'096];
  while (const std::size_t count = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, count);
  EXPECT_EQ(pclose(pipe), 0) << command;
  std::filesystem::remove(path);
  std::vector<std::string> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(AjvAgreement, HoldsForMutatedEvents) {
  const auto contracts = Contracts::load();
  ASSERT_TRUE(contracts) << contracts.error().message;
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  rc::Random random(seed);
  const auto generator = tests::mutated_example();

  std::vector<std::string> events;
  std::vector<std::string> ours;
  while (events.size() < kEvents) {
    std::string text = one_line(generator(random.split(), 100).value());
    if (text.find("1e999") != std::string::npos) continue;  // JavaScript has no such number
    const auto document = json::Document::parse(text);
    if (!document) continue;  // stricter than JSON.parse, with reasons: docs/adr/0003-json.md
    ours.push_back(describe((*contracts)->validate(document->root())));
    events.push_back(std::move(text));
  }
  const auto valid = std::ranges::count(ours, "");
  EXPECT_GT(valid, kEvents / 50) << "too few for a test";
  EXPECT_GT(kEvents - valid, kEvents / 50) << "too few for a test";

  const auto theirs = verdicts_of_ajv(events);
  ASSERT_EQ(theirs.size(), events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(ours[i].empty(), theirs[i] == "valid") << events[i] << "\nours: " << ours[i] << "\najv: " << theirs[i];
  }
}

}  // namespace
}  // namespace wfo::events
