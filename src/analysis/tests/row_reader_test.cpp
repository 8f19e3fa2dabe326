#include "analysis/detail/row_reader.h"

#include <gtest/gtest.h>

#include <sstream>

#include "analysis/tests/deals.h"

namespace wfo::analysis::detail {
namespace {

using Cells = std::vector<std::string>;

struct ReadRow {
  std::size_t line;
  Cells cells;
  std::string problem;
};

std::vector<ReadRow> read_all(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  std::vector<ReadRow> out;
  while (true) {
    auto row = reader.next();
    if (!row) {
      ADD_FAILURE() << row.error().message;
      return out;
    }
    if (!*row) return out;
    out.push_back({(*row)->line, (*row)->cells, (*row)->problem});
  }
}

std::string error_of(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  while (true) {
    const auto row = reader.next();
    if (!row) return row.error().message;
    if (!*row) return "";
  }
}

struct CsvCase {
  std::string name;
  std::string text;
  std::vector<Cells> rows;
};
class Csv : public ::testing::TestWithParam<CsvCase> {};

TEST_P(Csv, IsReadAsRows) {
  std::vector<Cells> rows;
  for (const ReadRow& row : read_all(GetParam().text)) {
    EXPECT_EQ(row.problem, "");
    rows.push_back(row.cells);
  }
  EXPECT_EQ(rows, GetParam().rows);
}

INSTANTIATE_TEST_SUITE_P(
    Rfc4180AndWhatIsFoundBesideIt, Csv,
    ::testing::Values(
        CsvCase{"plain", "a,b\n1,2\n", {{"a", "b"}, {"1", "2"}}},
        CsvCase{"crlf", "a,b\r\n1,2\r\n", {{"a", "b"}, {"1", "2"}}},
        CsvCase{"lone_cr", "a,b\r1,2\r", {{"a", "b"}, {"1", "2"}}},
        CsvCase{"no_line_end_at_the_end", "a,b\n1,2", {{"a", "b"}, {"1", "2"}}},
        CsvCase{"byte_order_mark",
                "\xEF\xBB\xBF"
                "a,b\n",
                {{"a", "b"}}},
        CsvCase{"quotes", "\"a\",\"b,c\"\n", {{"a", "b,c"}}},
        CsvCase{"doubled_quotes", "\"say \"\"hi\"\"\",b\n", {{"say \"hi\"", "b"}}},
        CsvCase{"line_end_in_quotes", "\"a\r\nb\",c\nd,e\n", {{"a\r\nb", "c"}, {"d", "e"}}},
        CsvCase{"quote_inside_of_a_plain_cell", "5\" pipe,b\n", {{"5\" pipe", "b"}}},
        CsvCase{"empty_cells", ",,\n", {{"", "", ""}}}, CsvCase{"empty_quotes", "\"\",b\n", {{"", "b"}}},
        CsvCase{"blank_lines", "a\n\n  \nb\n", {{"a"}, {"b"}}},
        CsvCase{"ragged", "a,b\n1\n1,2,3\n", {{"a", "b"}, {"1"}, {"1", "2", "3"}}},
        CsvCase{"semicolons", "a;b;c,d\n1;2;3\n", {{"a", "b", "c,d"}, {"1", "2", "3"}}},
        CsvCase{"tabs", "a\tb\n1\t2\n", {{"a", "b"}, {"1", "2"}}},
        CsvCase{"separators_in_quoted_headers_do_not_count", "\"a;b;c\",d\n1,2\n", {{"a;b;c", "d"}, {"1", "2"}}},
        CsvCase{"white_space_behind_a_closing_quote", "\"a\" ,b\n", {{"a", "b"}}},
        CsvCase{"more_than_ascii", "Müller,日本\n", {{"Müller", "日本"}}}),
    [](const auto& tested) { return tested.param.name; });

TEST(CsvReader, SaysOnWhichLineARowBegins) {
  const auto rows = read_all("a,b\n\"1\n1\n1\",2\n\n3,4\n");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1].line, 2U);
  EXPECT_EQ(rows[2].line, 6U);
}

TEST(CsvReader, GivesUpOnlyTheLineWhoseQuotesAreWrong) {
  const auto rows = read_all("a,b\n\"x\" y,1\n2,3\n");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_NE(rows[1].problem.find("behind a closing quote"), std::string::npos) << rows[1].problem;
  EXPECT_EQ(rows[2].cells, (Cells{"2", "3"}));
  EXPECT_EQ(rows[2].line, 3U);
}

TEST(CsvReader, LosesOneLineToAQuoteThatIsNeverClosed) {
  const auto rows = read_all("a,b\n1,\"open\n2,3\n4,5\n");
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_NE(rows[1].problem.find("never closed"), std::string::npos) << rows[1].problem;
  EXPECT_EQ(rows[2].cells, (Cells{"2", "3"}));
  EXPECT_EQ(rows[3].cells, (Cells{"4", "5"}));
}

TEST(CsvReader, LosesOneLineToAQuoteThatTheNextQuoteSeemsToClose) {
  const auto rows = read_all("a,b\n1,\"open\n2,\"x\"\n4,5\n");
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_NE(rows[1].problem, "");
  EXPECT_EQ(rows[2].cells, (Cells{"2", "x"}));
}

TEST(CsvReader, RefusesAnOverLongRowAndGoesOnBehindIt) {
  const auto rows = read_all("a,b\n" + std::string(kRowBytesMax + 10, 'x') + ",1\n2,3\n");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_NE(rows[1].problem.find("longer than 1048576 bytes"), std::string::npos) << rows[1].problem;
  EXPECT_EQ(rows[2].cells, (Cells{"2", "3"}));
}

TEST(CsvReader, TakesARowThatIsAlmostTooLong) {
  const auto rows = read_all("a\n" + std::string(kRowBytesMax - 2, 'x') + "\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].cells.front().size(), kRowBytesMax - 2);
}

TEST(CsvReader, RefusesARowOfTooManyCells) {
  const auto rows = read_all(std::string(2'000, ',') + "\n1,2\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_NE(rows[0].problem.find("more than 1000 cells"), std::string::npos);
}

TEST(CsvReader, NamesTheLineOfWhatIsNoUtf8) {
  EXPECT_EQ(error_of("a,b\n1,2\nM\xFCller,3\n"), "line 3: byte 0xFC is no UTF-8; allowed: text in UTF-8");
  EXPECT_EQ(error_of("a,b\n\"1\n\xC0\x80\",2\n"), "line 3: byte 0xC0 is no UTF-8; allowed: text in UTF-8");
}

TEST(CsvReader, NamesTheLineOfANulByte) {
  EXPECT_NE(error_of(std::string("a,b\n1,\0", 7)).find("line 2: a NUL byte"), std::string::npos);
}

TEST(CsvReader, ReadsAcrossTheBordersOfBlocks) {
  std::string text = "a,b\r\n";
  std::vector<Cells> expected{{"a", "b"}};
  for (int i = 0; text.size() < 300'000; ++i) {
    const std::string cell(static_cast<std::size_t>(i % 97), 'x');
    text += "\"" + cell + "\"\"\r\n\"," + std::to_string(i) + "\r\n";
    expected.push_back({cell + "\"\r\n", std::to_string(i)});
  }
  const auto rows = read_all(text);
  ASSERT_EQ(rows.size(), expected.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].cells, expected[i]) << "row " << i;
}

// Whatever happens to a file, reading it ends, and no line of it is passed over in silence: what comes out is a row, a
// row with a problem, or the error of the whole.
TEST(CsvReader, SurvivesAnyMutation) {
  const std::string sample = "id,stage,note\r\n1,Won,\"a, \"\"b\"\"\nc\"\r\n2,Lost,5\" pipe\r\n\r\n3,Open,\"x\"\r\n";
  for (std::uint64_t seed = 1; seed <= 3'000; ++seed) {
    testing::Random random(seed);
    std::string text = sample;
    for (std::size_t change = 0; change <= random.below(4); ++change) {
      const std::size_t at = random.below(text.size());
      constexpr std::string_view kBytes = "\",\r\n;\t\0\xFFx\xC3";
      switch (random.below(3)) {
        case 0:
          text[at] = kBytes[random.below(kBytes.size())];
          break;
        case 1:
          text.insert(at, 1, kBytes[random.below(kBytes.size())]);
          break;
        default:
          text.erase(at, 1 + random.below(5));
      }
      if (text.empty()) text = "x";
    }
    std::istringstream in(text);
    CsvReader reader(in);
    std::size_t line_before = 0;
    while (true) {
      const auto row = reader.next();
      if (!row || !*row) break;
      ASSERT_GT((*row)->line, line_before) << "seed " << seed;
      line_before = (*row)->line;
      ASSERT_TRUE((*row)->problem.empty() != (*row)->cells.empty()) << "seed " << seed;
    }
  }
}

TEST(LineReader, ReadsLinesAndPassesBlankOnesOver) {
  std::istringstream in("\xEF\xBB\xBF{\"a\":1}\r\n\n{\"b\":2}");
  LineReader reader(in);
  const auto first = reader.next();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->raw, "{\"a\":1}");
  const auto second = reader.next();
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->raw, "{\"b\":2}");
  EXPECT_EQ((*second)->line, 3U);
  const auto end = reader.next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
}

TEST(LineReader, RefusesAnOverLongLineAndGoesOnBehindIt) {
  std::istringstream in(std::string(kRowBytesMax + 1, 'x') + "\n{}\n");
  LineReader reader(in);
  const auto first = reader.next();
  ASSERT_TRUE(first && *first);
  EXPECT_NE((*first)->problem, "");
  const auto second = reader.next();
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->raw, "{}");
  EXPECT_EQ((*second)->line, 2U);
}

}  // namespace
}  // namespace wfo::analysis::detail
