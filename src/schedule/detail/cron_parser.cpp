#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include "schedule/detail/cron_fields.h"

namespace wfo::schedule::detail {
namespace {

using namespace std::chrono;

constexpr std::string_view kMonthNames[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                            "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::string_view kDayNames[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

struct FieldKind {
  std::string_view name;
  int min;
  int max;
  int max_of_star;  // `*` and open steps (`5/2`) go up to this
  std::span<const std::string_view> names;
  std::string_view allowed;
};
#define WFO_CRON_COMMON "ranges (1-5), steps (*/2, 1-5/2, 1/2), lists (1,3)"
constexpr FieldKind kSecond{"second", 0, 59, 59, {}, "0..59, *, " WFO_CRON_COMMON};
constexpr FieldKind kMinute{"minute", 0, 59, 59, {}, "0..59, *, " WFO_CRON_COMMON};
constexpr FieldKind kHour{"hour", 0, 23, 23, {}, "0..23, *, " WFO_CRON_COMMON};
constexpr FieldKind kDayOfMonth{
    "day of month", 1, 31, 31, {}, "1..31, *, ?, L, L-1..L-30, LW, 1W..31W, " WFO_CRON_COMMON};
constexpr FieldKind kMonth{"month", 1, 12, 12, kMonthNames, "1..12, JAN..DEC, *, " WFO_CRON_COMMON};
constexpr FieldKind kDayOfWeek{
    "day of week",
    0,
    7,
    6,
    kDayNames,
    "0..7 (0 and 7 are Sunday), SUN..SAT, *, ?, 5L (the last Friday), 5#1..5#5, " WFO_CRON_COMMON};
#undef WFO_CRON_COMMON
constexpr const FieldKind* kFields[] = {&kSecond, &kMinute, &kHour, &kDayOfMonth, &kMonth, &kDayOfWeek};

constexpr std::pair<std::string_view, std::string_view> kNicknames[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};
constexpr std::string_view kNicknamesAllowed =
    "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, or five or six fields";

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
bool same(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, upper, upper); }

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

struct Word {
  std::string_view text;
  std::size_t column;  // from 1

  [[nodiscard]] Word part(std::size_t from, std::size_t count = std::string_view::npos) const {
    return {text.substr(from, count), column + from};
  }
};

class Parser {
 public:
  explicit Parser(std::string_view expression) : expression_(expression) {}

  Result<CronFields> parse() {
    TRY(check_characters());
    std::vector<Word> words = split();
    if (words.empty()) return fail(ErrorCode::invalid_argument, "cron expression '' is empty; allowed: {}", kForms);
    if (words.front().text.front() == '@') return nickname(words);
    if (words.size() > 6) {
      return fail(ErrorCode::invalid_argument,
                  "cron expression '{}': column {}: '{}' is one field too many; allowed: {}", printable(expression_),
                  words[6].column, words[6].text, kForms);
    }
    if (words.size() < 5) {
      return fail(ErrorCode::invalid_argument,
                  "cron expression '{}': column {}: the field for {} is missing, there are {} of 5; allowed: {}",
                  printable(expression_), expression_.size() + 1, kFields[words.size() + 1]->name, words.size(),
                  kForms);
    }
    CronFields fields;
    auto word = words.begin();
    if (words.size() == 6) {
      TRY_ASSIGN(fields.seconds, simple(kSecond, *word++));
    }
    TRY_ASSIGN(fields.minutes, simple(kMinute, *word++));
    fields.plain_hours = word->text.find_first_of("*-/") == std::string_view::npos;
    TRY_ASSIGN(const std::uint64_t hours, simple(kHour, *word++));
    fields.hours = static_cast<std::uint32_t>(hours);
    const Word days_of_month = *word++;
    TRY_ASSIGN(fields.days_of_month, parse_days_of_month(days_of_month));
    const Word month = *word++;
    TRY_ASSIGN(const std::uint64_t months, simple(kMonth, month));
    fields.months = static_cast<std::uint32_t>(months);
    TRY_ASSIGN(fields.days_of_week, parse_days_of_week(*word));
    // After 400 years the calendar repeats, to the day of the week.
    constexpr LocalDays kCycle(2000y / January / 1);
    if (!fields.first_day(kCycle, kCycle + days(146'097))) {
      return fail(ErrorCode::invalid_argument,
                  "cron expression '{}': day of month, column {}: '{}' with month '{}' and day of week '{}' is no day "
                  "that ever comes; allowed: days that the calendar has",
                  printable(expression_), days_of_month.column, days_of_month.text, month.text, word->text);
    }
    return fields;
  }

 private:
  static constexpr std::string_view kForms =
      "5 fields (minute, hour, day of month, month, day of week), 6 with the second in front, or @daily and its kin";

  Result<void> check_characters() const {
    if (expression_.size() > kExpressionBytesMax) {
      return fail(ErrorCode::invalid_argument, "cron expression '{}…' has {} bytes; allowed: at most {}",
                  printable(expression_.substr(0, 40)), expression_.size(), kExpressionBytesMax);
    }
    const auto odd = std::ranges::find_if(expression_, [](char c) { return (c < ' ' || c > '~') && c != '\t'; });
    if (odd == expression_.end()) return {};
    const auto column = static_cast<std::size_t>(odd - expression_.begin()) + 1;
    const std::vector<Word> words = split();
    const auto word = std::ranges::find_if(words, [&](const Word& w) { return column < w.column + w.text.size(); });
    return fail(ErrorCode::invalid_argument,
                "cron expression '{}': {}, column {}: '{}' is not allowed; allowed: printable ASCII characters",
                printable(expression_), field_name(static_cast<std::size_t>(word - words.begin()), words.size()),
                column, printable({&*odd, 1}));
  }

  static std::string field_name(std::size_t index, std::size_t count) {
    if (count != 5 && count != 6) return fmt::format("field {}", index + 1);
    return std::string(kFields[index + 6 - count]->name);
  }

  [[nodiscard]] std::vector<Word> split() const {
    constexpr std::string_view kBlanks = " \t";
    std::vector<Word> words;
    for (std::size_t at = expression_.find_first_not_of(kBlanks); at != std::string_view::npos;) {
      const std::size_t end = std::min(expression_.find_first_of(kBlanks, at), expression_.size());
      words.push_back({expression_.substr(at, end - at), at + 1});
      at = expression_.find_first_not_of(kBlanks, end);
    }
    return words;
  }

  [[nodiscard]] std::unexpected<Error> bad(const FieldKind& field, Word word, std::string_view why) const {
    return fail(ErrorCode::invalid_argument, "cron expression '{}': {}, column {}: '{}' {}; allowed: {}",
                printable(expression_), field.name, word.column, word.text, why, field.allowed);
  }

  Result<CronFields> nickname(const std::vector<Word>& words) const {
    const Word& word = words.front();
    if (same(word.text, "@reboot")) {
      return fail(ErrorCode::invalid_argument,
                  "cron expression '{}': column {}: '@reboot' names no time, and schedules do not depend on restarts; "
                  "allowed: {}",
                  printable(expression_), word.column, kNicknamesAllowed);
    }
    for (const auto& [name, meaning] : kNicknames) {
      if (!same(word.text, name)) continue;
      if (words.size() > 1) {
        return fail(ErrorCode::invalid_argument, "cron expression '{}': column {}: '{}' after {}; allowed: nothing",
                    printable(expression_), words[1].column, words[1].text, name);
      }
      return Parser(meaning).parse();
    }
    return fail(ErrorCode::invalid_argument, "cron expression '{}': column {}: '{}' is not known; allowed: {}",
                printable(expression_), word.column, word.text, kNicknamesAllowed);
  }

  // The elements of a list, each handed to `take`.
  template <class Take>
  Result<void> each(const FieldKind& field, Word word, Take take) const {
    for (std::size_t at = 0;;) {
      const std::size_t comma = std::min(word.text.find(',', at), word.text.size());
      const Word element = word.part(at, comma - at);
      if (element.text.empty()) return bad(field, word.part(at, 1), "stands where a list wants a value");
      TRY(take(element));
      if (comma == word.text.size()) return {};
      at = comma + 1;
    }
  }

  Result<int> number(const FieldKind& field, Word word, int min, int max, std::string_view what = "value") const {
    if (word.text.empty() || !std::ranges::all_of(word.text, is_digit)) return bad(field, word, "is not a number");
    int value = 0;
    const auto [end, error] = std::from_chars(word.text.data(), word.text.data() + word.text.size(), value);
    if (error != std::errc{} || value < min || value > max) {
      return bad(field, word, fmt::format("is no {} in {}..{}", what, min, max));
    }
    return value;
  }

  Result<int> value(const FieldKind& field, Word word) const {
    if (word.text.empty()) return bad(field, word, "stands where a value is wanted");
    if (is_digit(word.text.front()) && std::ranges::all_of(word.text, is_digit)) {
      return number(field, word, field.min, field.max);
    }
    for (std::size_t i = 0; i < field.names.size(); ++i) {
      if (same(word.text, field.names[i])) return static_cast<int>(i) + field.min;
    }
    return bad(field, word, why_not(field, word.text));
  }

  // For what is good elsewhere, where.
  static std::string_view why_not(const FieldKind& field, std::string_view text) {
    const bool days = &field == &kDayOfMonth || &field == &kDayOfWeek;
    if (text == "?") return days ? "must stand alone" : "is for the days of month and of week only";
    if (text == "*") return "is wanted alone, with a step, or in a list";
    if (text.find('#') != std::string_view::npos && &field != &kDayOfWeek)
      return "holds #, which is for the day of week";
    const char final = upper(text.back());
    const bool after_number = text.size() > 1 && is_digit(text[text.size() - 2]);
    if (final == 'W' && (after_number || text.size() <= 2) && &field != &kDayOfMonth) {
      return "holds W, which is for the day of month";
    }
    if (&field == &kDayOfWeek && same(text, "L")) return "wants a day in front of it (5L: the last Friday)";
    if (!days && (same(text, "L") || (final == 'L' && after_number))) {
      return "holds L, which is for the days of month and of week";
    }
    if (is_digit(text.front())) return "is not a number";
    return field.names.empty() ? "is not a number" : "is neither a number nor a name";
  }

  // `*`, `5`, `1-5`, `*/2`, `1-5/2`, `5/2`: bits.
  Result<std::uint64_t> range(const FieldKind& field, Word word) const {
    const std::size_t slash = word.text.find('/');
    const Word base = word.part(0, slash);
    int first = field.min;
    int last = field.max_of_star;
    if (base.text != "*") {
      const std::size_t dash = base.text.find('-');
      const Word first_word = base.part(0, dash);
      TRY_ASSIGN(first, value(field, first_word));
      if (dash != std::string_view::npos) {
        const Word last_word = base.part(dash + 1);
        TRY_ASSIGN(last, value(field, last_word));
        if (last == 0 && first > 0 && same(last_word.text, "SUN")) last = 7;  // FRI-SUN
        if (last < first) return bad(field, base, "runs backwards; write two ranges, or the smaller value first");
      } else if (slash == std::string_view::npos) {
        last = first;
      } else {
        last = std::max(first, last);
      }
    }
    int step = 1;
    if (slash != std::string_view::npos) {
      TRY_ASSIGN(step, number(field, word.part(slash + 1), 1, field.max, "step"));
    }
    std::uint64_t bits = 0;
    for (int i = first; i <= last; i += step) bits |= std::uint64_t{1} << i;
    return bits;
  }

  Result<std::uint64_t> simple(const FieldKind& field, Word word) const {
    std::uint64_t bits = 0;
    TRY(each(field, word, [&](Word element) -> Result<void> {
      TRY_ASSIGN(const std::uint64_t more, range(field, element));
      bits |= more;
      return {};
    }));
    return bits;
  }

  Result<DaysOfMonth> parse_days_of_month(Word word) const {
    DaysOfMonth days;
    days.starts_with_star = word.text.front() == '*' || word.text == "?";
    if (word.text == "?") word.text = "*";
    TRY(each(kDayOfMonth, word, [&](Word element) -> Result<void> {
      const std::string_view text = element.text;
      if (same(text, "L")) {
        days.before_last |= 1U;
      } else if (same(text, "LW")) {
        days.last_working = true;
      } else if (same(text.substr(0, 2), "L-")) {
        TRY_ASSIGN(const int back, number(kDayOfMonth, element.part(2), 1, 30));
        days.before_last |= 1U << back;
      } else if (text.size() > 1 && upper(text.back()) == 'W' && is_digit(text.front())) {
        TRY_ASSIGN(const int day, number(kDayOfMonth, element.part(0, text.size() - 1), 1, 31));
        days.nearest_working |= 1U << day;
      } else {
        TRY_ASSIGN(const std::uint64_t bits, range(kDayOfMonth, element));
        days.days |= static_cast<std::uint32_t>(bits);
      }
      return {};
    }));
    return days;
  }

  Result<DaysOfWeek> parse_days_of_week(Word word) const {
    DaysOfWeek days;
    days.starts_with_star = word.text.front() == '*' || word.text == "?";
    if (word.text == "?") word.text = "*";
    TRY(each(kDayOfWeek, word, [&](Word element) -> Result<void> {
      const std::string_view text = element.text;
      if (const std::size_t sharp = text.find('#'); sharp != std::string_view::npos) {
        TRY_ASSIGN(const int day, value(kDayOfWeek, element.part(0, sharp)));
        TRY_ASSIGN(const int n, number(kDayOfWeek, element.part(sharp + 1), 1, 5));
        days.nth[static_cast<std::size_t>(n - 1)] |= static_cast<std::uint8_t>(1U << day % 7);
      } else if (text.size() > 1 && upper(text.back()) == 'L') {
        TRY_ASSIGN(const int day, value(kDayOfWeek, element.part(0, text.size() - 1)));
        days.last |= static_cast<std::uint8_t>(1U << day % 7);
      } else {
        TRY_ASSIGN(const std::uint64_t bits, range(kDayOfWeek, element));
        days.days |= static_cast<std::uint8_t>((bits | bits >> 7) & 0x7F);
      }
      return {};
    }));
    return days;
  }

  std::string_view expression_;
};

}  // namespace

Result<CronFields> parse_cron(std::string_view text) { return Parser(text).parse(); }

}  // namespace wfo::schedule::detail
