#include "app/terminal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/text.h"

namespace wfo::app {
namespace {

using std::string_literals::operator""s;

TEST(Table, MakesColumnsAsWideAsTheirWidestCell) {
  Table table({"ID", "STATUS", "NAME"});
  table.add({"1", "completed", "a"});
  table.add({"100", "failed", ""});
  EXPECT_EQ(table.to_text(),
            "ID   STATUS     NAME\n"
            "1    completed  a\n"
            "100  failed     \n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  Table table({"N", "X"});
  table.add({"Müller", "1"});
  table.add({"abcdef", "2"});
  EXPECT_EQ(table.to_text(),
            "N       X\n"
            "Müller  1\n"
            "abcdef  2\n");
}

TEST(Table, CutsLinesAtTheEdgeBetweenTwoCharacters) {
  Table table({"A", "B"});
  table.add({"é", "ééééé"});
  table.add({"é", "éé"});
  EXPECT_EQ(table.to_text(6),
            "A  B\n"
            "é  éé…\n"
            "é  éé\n");
  EXPECT_EQ(table.to_text(8), table.to_text(0)) << "what fits exactly is not cut";
}

TEST(Table, OfNothingIsItsHeaders) { EXPECT_EQ(Table({"A", "B"}).to_text(), "A  B\n"); }

TEST(Table, KeepsARowOnItsLineAndTheTerminalToItself) {
  Table table({"A", "B"});
  table.add({"x\ny", "\x1b[31mred\x1b[0m"});
  EXPECT_EQ(table.to_text(),
            "A    B\n"
            "x y  ?[31mred?[0m\n");
}

TEST(Printable, LeavesTextAsItIs) {
  for (const std::string_view text : {"", "plain", "Müller & Söhne", "€ 10", "日本語", "😀", "\u00a0"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, TakesAwayWhatATerminalWouldObey) {
  struct Row {
    std::string text;
    std::string_view shown;
  };
  for (const auto& [text, shown] : {
           Row{"a\nb\r\nc\td", "a b  c d"},
           Row{"\x1b]0;title\x07", "?]0;title?"},
           Row{"\x7f\b", "??"},
           Row{"\u009b31m", "??31m"},        // CSI as one character
           Row{"\u0085", "??"},              // next line
           Row{"\x9b", "\ufffd"},            // CSI as one byte
           Row{"a\xc2", "a\ufffd"},          // cut in the middle
           Row{"\xc0\x9b", "\ufffd\ufffd"},  // overlong
           Row{"a\0b"s, "a\ufffdb"},
       }) {
    EXPECT_EQ(printable(text), shown);
  }
}

TEST(Printable, LeavesNoControlCharacterWhateverBytesComeInPairs) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const auto shown = printable(std::string{static_cast<char>(first), static_cast<char>(second)});
      ASSERT_TRUE(store::is_text(shown)) << first << ' ' << second;
      for (std::size_t i = 0; i < shown.size(); ++i) {
        const auto c = static_cast<unsigned char>(shown[i]);
        ASSERT_TRUE(c >= 0x20 && c != 0x7f) << first << ' ' << second;
        ASSERT_FALSE(c == 0xc2 && static_cast<unsigned char>(shown[i + 1]) < 0xa0) << first << ' ' << second;
      }
    }
  }
}

TEST(Terminal, IsNoneWhereOutputGoesIntoAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(is_terminal(ends[1]));
  EXPECT_EQ(terminal_width(ends[1]), 100U);
  close(ends[0]);
  close(ends[1]);
  EXPECT_FALSE(is_terminal(-1));
}

}  // namespace
}  // namespace wfo::app
