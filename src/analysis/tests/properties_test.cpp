#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "analysis/detail/row_reader.h"
#include "analysis/detail/text.h"
#include "analysis/import.h"
#include "analysis/mapping.h"
#include "analysis/model.h"
#include "analysis/profile.h"

namespace wfo::analysis {
namespace {

// Cells of what makes CSV hard, and some text.
rc::Gen<std::string> cell() {
  return rc::gen::container<std::string>(rc::gen::element('"', ',', ';', '\n', '\r', ' ', '\t', 'a', '0', '-', '\x7F'));
}

RC_GTEST_PROP(RejectsFile, ReadsBackAsItWasWritten, ()) {
  const Reject reject{*rc::gen::inRange<std::size_t>(1, 1'000'000), *cell(), *cell(), *cell(), *cell()};
  std::istringstream in(rejects_header() + to_csv(reject));
  detail::CsvReader reader(in);
  RC_ASSERT(reader.next().has_value());
  const auto row = reader.next();
  RC_ASSERT(row.has_value() && row->has_value());
  RC_ASSERT((*row)->problem.empty());
  const std::vector<std::string> expected{std::to_string(reject.line), reject.column, reject.value, reject.reason,
                                          reject.row};
  // White space around a quoted cell is nobody's; inside of the quotes, and without quotes, it stays.
  RC_ASSERT((*row)->cells == expected);
}

RC_GTEST_PROP(CsvReader, EndsOnAnyBytes, ()) {
  const auto text = *rc::gen::container<std::string>(
      rc::gen::oneOf(rc::gen::element('"', ',', '\n', '\r', 'a'), rc::gen::arbitrary<char>()));
  std::istringstream in(text);
  detail::CsvReader reader(in);
  for (std::size_t rows = 0;; ++rows) {
    const auto row = reader.next();
    if (!row || !*row) break;
    RC_ASSERT(rows <= text.size());
  }
}

RC_GTEST_PROP(DateCell, ReadsEveryDayInEveryFormat, ()) {
  const Date date{std::chrono::days{*rc::gen::inRange(-25'000, 100'000)}};
  const std::chrono::year_month_day parts(date);
  const int year = static_cast<int>(parts.year());
  const auto month = static_cast<unsigned>(parts.month());
  const auto day = static_cast<unsigned>(parts.day());
  const auto read = [](const std::string& text, DateFormat format) {
    return parse_date_cell(text, std::span(&format, 1));
  };
  RC_ASSERT(read(format_date(date), DateFormat::iso) == date);
  RC_ASSERT(read(fmt::format("{}/{}/{}", month, day, year), DateFormat::us) == date);
  RC_ASSERT(read(fmt::format("{:02}.{:02}.{}", day, month, year), DateFormat::european) == date);
}

RC_GTEST_PROP(NumberCell, ReadsGroupedNumbersInBothFormats, ()) {
  const auto whole = *rc::gen::inRange<std::int64_t>(0, 1'000'000'000'000);
  const auto cents = *rc::gen::inRange(0, 100);
  const std::string us = fmt::format("{}.{:02}", detail::grouped(static_cast<double>(whole)), cents);
  std::string european = us;
  for (char& c : european) c = c == ',' ? '.' : c == '.' ? ',' : c;
  const double expected = std::stod(fmt::format("{}.{:02}", whole, cents));
  RC_ASSERT(parse_number_cell(us, NumberFormat::us) == expected);
  RC_ASSERT(parse_number_cell("$" + us, NumberFormat::us) == expected);
  RC_ASSERT(parse_number_cell(european + " €", NumberFormat::european) == expected);
}

RC_GTEST_PROP(Cells, OfAnyTextAreReadOrRefused, (const std::string& text)) {
  constexpr DateFormat kAll[] = {DateFormat::iso, DateFormat::us, DateFormat::epoch_ms};
  static_cast<void>(parse_date_cell(text, kAll));
  const auto number = parse_number_cell(text, NumberFormat::us);
  RC_ASSERT(!number || std::isfinite(*number));
  static_cast<void>(parse_flag_cell(text));
}

RC_GTEST_PROP(PrintableText, FitsAndHoldsNoControls, (const std::string& text)) {
  const auto width = *rc::gen::inRange<std::size_t>(1, 40);
  const std::string shown = detail::printable(text, width);
  RC_ASSERT(detail::columns(shown) <= width);
  for (const char c : shown) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

RC_GTEST_PROP(AreaUnderCurve, TurnsAroundWithTheScores, ()) {
  const auto pairs = *rc::gen::container<std::vector<std::pair<int, bool>>>(
      rc::gen::pair(rc::gen::inRange(0, 20), rc::gen::arbitrary<bool>()));
  std::vector<double> scores;
  std::vector<double> turned;
  std::vector<bool> outcomes;
  for (const auto& [score, outcome] : pairs) {
    scores.push_back(score);
    turned.push_back(-score);
    outcomes.push_back(outcome);
  }
  const double area = area_under_curve(scores, outcomes);
  RC_ASSERT(area >= 0 && area <= 1);
  RC_ASSERT(std::abs(area + area_under_curve(turned, outcomes) - 1) < 1e-9);
}

RC_GTEST_PROP(Quantile, AscendsWithinTheValues, ()) {
  auto values = *rc::gen::nonEmpty(rc::gen::container<std::vector<double>>(
      rc::gen::map(rc::gen::inRange(-1'000, 1'000), [](int value) { return value / 7.0; })));
  std::ranges::sort(values);
  double before = values.front();
  for (int i = 0; i <= 50; ++i) {
    const double value = quantile_of(values, i / 50.0);
    RC_ASSERT(value >= before - 1e-9 && value <= values.back() + 1e-9);
    before = value;
  }
}

}  // namespace
}  // namespace wfo::analysis
