#include "analysis/import.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "analysis/detail/row_reader.h"
#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::day;
using testing::kTenant;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "wfo-import-XXXXXX").string();
    EXPECT_NE(mkdtemp(path.data()), nullptr) << path;
    path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path write(std::string_view name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Imported {
  std::vector<ImportedRow> rows;
  std::vector<Reject> rejects;
  ImportSummary summary;
  std::string error;

  [[nodiscard]] const store::Opportunity& of(std::string_view external_id) const {
    const auto found =
        std::ranges::find_if(rows, [&](const ImportedRow& row) { return row.opportunity.external_id == external_id; });
    EXPECT_NE(found, rows.end()) << external_id;
    return found->opportunity;
  }
  [[nodiscard]] bool has_warning(std::string_view part) const {
    return std::ranges::any_of(summary.warnings,
                               [&](const std::string& one) { return one.find(part) != std::string::npos; });
  }
};

Imported import(ImportOptions options) {
  options.tenant = kTenant;
  Imported out;
  auto summary = read_file(
      options,
      [&](ImportedRow row) -> Result<void> {
        out.rows.push_back(std::move(row));
        return {};
      },
      [&](const Reject& reject) -> Result<void> {
        out.rejects.push_back(reject);
        return {};
      });
  if (summary) {
    out.summary = *std::move(summary);
  } else {
    out.error = summary.error().message;
  }
  return out;
}

Imported import_text(std::string_view text, std::string_view name = "deals.csv") {
  const TemporaryFolder folder;
  return import({.file = folder.write(name, text), .tenant = {}, .mapping = {}, .as_of = {}, .today = {}});
}

std::filesystem::path data(std::string_view name) {
  return std::filesystem::path(WFO_SOURCE_DIR) / "src/analysis/tests/data" / name;
}
Imported import_data(std::string_view name) {
  return import({.file = data(name), .tenant = {}, .mapping = {}, .as_of = {}, .today = {}});
}

constexpr std::string_view kHeader = "external_id,stage,amount,product,account,owner,created_on,close_on\n";

// --- Real kinds of files ---

TEST(Import, ReadsASalesforceReport) {
  const auto got = import_data("salesforce.csv");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.summary.mapping, "salesforce");
  EXPECT_EQ(got.summary.rows, 3U);
  const auto& open = got.of("006Hs00001AbCdEIAV");
  EXPECT_EQ(open.state, StageState::open);
  EXPECT_EQ(open.name, "Acme - 40 seats, \"gold\"");
  EXPECT_EQ(open.amount, 12'500.0);
  EXPECT_EQ(open.crm_probability, 0.6);
  EXPECT_EQ(open.created_on, day("2026-01-15"));
  EXPECT_EQ(open.close_on, day("2026-06-30"));
  EXPECT_EQ(open.owner, "Ada Lovelace");
  EXPECT_EQ(got.of("006Hs00001AbCdFIAV").state, StageState::won);
  EXPECT_EQ(got.of("006Hs00001AbCdGIAV").state, StageState::lost);
  EXPECT_EQ(got.summary.as_of, day("2026-02-20")) << "the close date of an open deal is a hope, not a fact";
  EXPECT_EQ(got.summary.headers_unused, (std::vector<std::string>{"Fiscal Period", "Lead Source"}));
}

TEST(Import, ReadsAHubspotExport) {
  const auto got = import_data("hubspot.csv");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.summary.mapping, "hubspot");
  EXPECT_EQ(got.of("9001").state, StageState::open);
  EXPECT_EQ(got.of("9001").created_on, day("2026-01-15"));
  EXPECT_EQ(got.of("9001").currency, "EUR");
  EXPECT_EQ(got.of("9002").state, StageState::won);
  EXPECT_EQ(got.of("9003").state, StageState::lost);
  EXPECT_EQ(got.of("9003").amount, std::nullopt) << "a lost deal's 0 is not an amount";
}

TEST(Import, ReadsAnExportOfTheKindOfThePublicDataSet) {
  const auto got = import_data("pipeline.csv");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.summary.mapping, "crm-sales-opportunities");
  EXPECT_EQ(got.summary.as_of, day("2017-03-11"));
  EXPECT_EQ(got.of("Z063OYW0").product, "GTX Pro") << "GTXPro is an alias";
  EXPECT_EQ(got.of("Z063OYW0").list_price, 4'821.0);
  EXPECT_EQ(got.of("Z063OYW0").account_sector, "medical");
  EXPECT_EQ(got.of("Z063OYW0").account_revenue, 3'178.24);
  EXPECT_EQ(got.of("E6PFLVPG").account, "");
  EXPECT_EQ(got.of("E6PFLVPG").amount, std::nullopt);
  EXPECT_EQ(got.of("E6PFLVPG").state, StageState::open);
  EXPECT_EQ(got.of("LOST0001").amount, std::nullopt);
  EXPECT_EQ(got.summary.rows_with_list_price, 4U);
  EXPECT_EQ(got.summary.rows_with_account_data, 3U);
  EXPECT_TRUE(got.summary.warnings.empty());
}

TEST(Import, ReadsJsonLines) {
  const auto got = import_data("deals.jsonl");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.summary.mapping, "wfo");
  ASSERT_EQ(got.summary.rows, 2U);
  const auto& open = got.of("J-1");
  EXPECT_EQ(open.amount, 1'250.5);
  EXPECT_EQ(open.crm_probability, 0.4);
  EXPECT_EQ(open.created_on, day("2026-01-05"));
  EXPECT_TRUE(open.stage_regressed);
  EXPECT_EQ(open.competitor_id, "Globex");
  EXPECT_EQ(got.of("J-2").state, StageState::won);
  ASSERT_EQ(got.rejects.size(), 3U);
  EXPECT_EQ(got.rejects[0].line, 3U);
  EXPECT_EQ(got.rejects[0].column, "amount");
  EXPECT_EQ(got.rejects[0].reason, "a JSON object; allowed: a string, a number, true, false or null");
  EXPECT_EQ(got.rejects[1].line, 4U);
  EXPECT_EQ(got.rejects[2].line, 5U);
  EXPECT_EQ(got.rejects[2].reason, "a JSON array; allowed: an object");
}

TEST(Import, OfJsonTakesKeysInAnyCaseAndTheFirstOfTheMappingsList) {
  const auto got = import_text(
      "{\"ID\":\"x\",\"STAGENAME\":\"Closed Won\",\"closedate\":\"2026-01-01\","
      "\"AccountId\":\"001\",\"Account.Name\":\"Acme\",\"probability\":100}\n",
      "deals.jsonl");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.summary.mapping, "salesforce");
  EXPECT_EQ(got.of("x").account, "Acme");
  EXPECT_EQ(got.of("x").crm_probability, 1.0);
}

TEST(Import, TakesTheExamples) {
  const auto folder = std::filesystem::path(WFO_SOURCE_DIR) / "examples";
  const auto csv =
      import({.file = folder / "opportunities.csv", .tenant = {}, .mapping = {}, .as_of = {}, .today = {}});
  EXPECT_EQ(csv.error, "");
  EXPECT_EQ(csv.summary.mapping, "wfo");
  EXPECT_EQ(csv.summary.as_of, day("2026-03-01"));
  EXPECT_EQ(csv.summary.rows, 294U);
  std::vector<std::size_t> lines;
  for (const Reject& reject : csv.rejects) lines.push_back(reject.line);
  EXPECT_EQ(lines, (std::vector<std::size_t>{42, 87, 132, 172, 217, 262}));
  EXPECT_TRUE(csv.summary.warnings.empty());
  EXPECT_TRUE(csv.summary.headers_unused.empty());
  const auto json =
      import({.file = folder / "opportunities.jsonl", .tenant = {}, .mapping = {}, .as_of = {}, .today = {}});
  EXPECT_EQ(json.summary.rows, 12U);
  EXPECT_TRUE(json.rejects.empty());
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(Examples, AreWhatTheirScriptMakes) {
  const TemporaryFolder made;
  const auto folder = std::filesystem::path(WFO_SOURCE_DIR) / "examples";
  const auto command =
      fmt::format("python3 '{}' '{}' >/dev/null", (folder / "make_examples.py").string(), made.path().string());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  for (const std::string_view name : {"opportunities.csv", "opportunities.jsonl", "products.csv", "accounts.csv"}) {
    EXPECT_EQ(content_of(made.path() / name), content_of(folder / name)) << name;
    EXPECT_FALSE(content_of(folder / name).empty()) << name;
  }
}

// --- Rows that cannot be used ---

struct RejectCase {
  std::string name;
  std::string row;
  std::string column;
  std::string value;
  std::string reason_part;
};
class BadRow : public ::testing::TestWithParam<RejectCase> {};
TEST_P(BadRow, IsRejectedWithItsReasonWhileTheRestGoesOn) {
  const auto& [name, row, column, value, reason_part] = GetParam();
  const auto got = import_text(std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n" + row + "\nZ,Won,1,,,,,2026-01-01\n");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.rows.size(), 2U);
  ASSERT_EQ(got.rejects.size(), 1U);
  EXPECT_EQ(got.rejects[0].line, 3U);
  EXPECT_EQ(got.rejects[0].column, column);
  EXPECT_EQ(got.rejects[0].value, value);
  EXPECT_NE(got.rejects[0].reason.find(reason_part), std::string::npos) << got.rejects[0].reason;
  EXPECT_EQ(got.rejects[0].row, row);
  EXPECT_EQ(got.summary.rejects, 1U);
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, BadRow,
    ::testing::Values(RejectCase{"no_id", ",Won,1,,,,,", "external_id", "", "it is empty; a row needs an id"},
                      RejectCase{"no_stage", "B,,1,,,,,", "stage", "", "it is empty; a row needs a stage"},
                      RejectCase{"bad_number", "B,Won,much,,,,,", "amount", "much",
                                 "no number; allowed: one like 1200.50"},
                      RejectCase{"negative_amount", "B,Won,-5,,,,,", "amount", "-5", "allowed: from 0 to 1e+15"},
                      RejectCase{"enormous_amount", "B,Won,1e16,,,,,", "amount", "1e16", "allowed: from 0 to 1e+15"},
                      RejectCase{"bad_date", "B,Won,1,,,,01/02/2026,", "created_on", "01/02/2026",
                                 "no date; allowed: one like 2017-03-01"},
                      RejectCase{"no_such_day", "B,Won,1,,,,,2026-02-30", "close_on", "2026-02-30", "no date"},
                      RejectCase{"same_id_other_content", "A,Lost,1,,,,,", "external_id", "A",
                                 "the id stands on line 2 already, with other content"},
                      RejectCase{"shifted_cells", "B,Won,1,200,Desk,Acme,Ada,2026-01-01,2026-02-01", "", "2026-02-01",
                                 "9 cells, but the file has 8 columns"},
                      RejectCase{"open_quote", "B,Won,\"1,,,,,", "", "", "a quote is opened and never closed"},
                      RejectCase{"long_id", std::string(256, 'x') + ",Won,1,,,,,", "external_id",
                                 std::string(200, 'x') + "...", "256 bytes; allowed: 255"},
                      RejectCase{"long_text", "B,Won,1,,," + std::string(4097, 'y') + ",,", "owner",
                                 std::string(200, 'y') + "...", "4097 bytes; allowed: 4096"}),
    [](const auto& tested) { return tested.param.name; });

TEST(Import, RejectsAStageThatTheMappingDoesNotKnow) {
  const auto got = import_text("opportunity_id,deal_stage,engage_date,close_value\nX,Meeting,1/1/2017,5\n");
  ASSERT_EQ(got.rejects.size(), 1U);
  EXPECT_EQ(got.rejects[0].column, "deal_stage");
  EXPECT_EQ(got.rejects[0].reason,
            "no stage that the mapping crm-sales-opportunities knows; allowed: Prospecting, Engaging, Won, Lost");
}

TEST(Import, TakesRowsWithoutAmountAccountOrDatesAsNormal) {
  const auto got = import_text(std::string(kHeader) + "A,Proposal,,,,,,\nB,Proposal\n");
  EXPECT_TRUE(got.rejects.empty());
  ASSERT_EQ(got.rows.size(), 2U);
  EXPECT_EQ(got.rows[0].opportunity.amount, std::nullopt);
  EXPECT_EQ(got.rows[0].opportunity.as_of, std::nullopt);
  EXPECT_EQ(got.summary.as_of, std::nullopt);
}

TEST(Import, PassesOverARowThatIsRepeatedWordForWord) {
  const auto got = import_text(std::string(kHeader) + "A,Won,1,,,,,2026-01-01\nA,Won,1.0,,,,,2026-01-01\n");
  EXPECT_EQ(got.rows.size(), 1U);
  EXPECT_EQ(got.summary.repeated, 1U);
  EXPECT_TRUE(got.rejects.empty());
}

TEST(Import, WritesRejectsAsCsvThatReadsBack) {
  const Reject reject{7, "amount", "1,\"x\"", "no\nnumber", "A,\"1,\"\"x\"\"\""};
  std::istringstream in(rejects_header() + to_csv(reject));
  detail::CsvReader reader(in);
  ASSERT_EQ((*reader.next())->cells, (std::vector<std::string>{"line", "column", "value", "reason", "row"}));
  EXPECT_EQ((*reader.next())->cells,
            (std::vector<std::string>{"7", reject.column, reject.value, reject.reason, reject.row}));
  EXPECT_EQ(rejects_path("in/deals.csv", "out"), "out/deals.csv.rejects.csv");
}

// --- Whole files that cannot be used ---

struct FileCase {
  std::string name;
  std::string text;
  std::string error_part;
};
class BadFile : public ::testing::TestWithParam<FileCase> {};
TEST_P(BadFile, IsAnErrorBeforeAnyRowIsHandedOver) {
  const auto got = import_text(GetParam().text);
  EXPECT_NE(got.error.find(GetParam().error_part), std::string::npos) << got.error;
  EXPECT_NE(got.error.find("allowed"), std::string::npos) << got.error;
  EXPECT_TRUE(got.rows.empty());
  EXPECT_TRUE(got.rejects.empty());
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, BadFile,
    ::testing::Values(
        FileCase{"empty", "", "is empty"}, FileCase{"blank", "\n \n", "blank lines only"},
        FileCase{"utf16", std::string("\xFF\xFEi\0d\0", 6), "is UTF-16"},
        FileCase{"spreadsheet", "PK\x03\x04zip", "is a spreadsheet"},
        FileCase{"json_array", "[{\"id\":1}]", "is a JSON array"},
        FileCase{"latin1", std::string(kHeader) + "A,Won,1,,M\xFCller,,,\n", "line 2: byte 0xFC is no UTF-8"},
        FileCase{"latin1_late", std::string(kHeader) + "A,Won,1,,,,,\nB,Won,1,,\xE9,,,\n", "line 3: byte 0xE9"},
        FileCase{"binary", std::string(kHeader) + std::string("A,\0,1", 5), "line 2: a NUL byte"}),
    [](const auto& tested) { return tested.param.name; });

TEST(Import, SaysThatNoMappingKnowsTheColumns) {
  const auto got = import_text("a,b\n1,2\n");
  EXPECT_NE(got.error.find("no mapping fits the columns 'a, b'"), std::string::npos) << got.error;
  EXPECT_NE(got.error.find("salesforce wants one of: Opportunity ID"), std::string::npos) << got.error;
}

TEST(Import, SaysThatThereIsNoSuchFile) {
  EXPECT_NE(import({.file = "/nowhere/deals.csv", .tenant = {}, .mapping = {}, .as_of = {}, .today = {}})
                .error.find("/nowhere/deals.csv: no such file"),
            std::string::npos);
}

TEST(Import, RefusesAFolder) {
  const TemporaryFolder folder;
  EXPECT_NE(import({.file = folder.path(), .tenant = {}, .mapping = {}, .as_of = {}, .today = {}}).error.find("folder"),
            std::string::npos);
}

// --- The day at which the analysis stands ---

TEST(Import, StandsAtTheDayThatIsAskedFor) {
  const TemporaryFolder folder;
  const auto got = import({.file = folder.write("d.csv", std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n"),
                           .tenant = {},
                           .mapping = {},
                           .as_of = day("2025-05-05"),
                           .today = {}});
  EXPECT_EQ(got.summary.as_of, day("2025-05-05"));
  EXPECT_EQ(got.of("A").as_of, day("2025-05-05"));
}

TEST(Import, DoesNotTakeADateInTheFutureForToday) {
  const TemporaryFolder folder;
  const auto got =
      import({.file = folder.write("d.csv", std::string(kHeader) + "A,Won,1,,,,,2026-01-01\nB,Won,1,,,,,2062-01-01\n"),
              .tenant = {},
              .mapping = {},
              .as_of = {},
              .today = day("2026-11-24")});
  EXPECT_EQ(got.summary.as_of, day("2026-01-01"));
}

// --- What makes a row new work ---

std::string trigger_of(const Imported& got, std::size_t row = 0) { return got.rows.at(row).trigger_id.to_string(); }

TEST(ImportTrigger, IsTheSameForTheSameRowWhereverItStands) {
  const auto alone = import_text(std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n");
  const auto behind = import_text(std::string(kHeader) + "B,Won,1,,,,,2026-01-02\nA,Won,\"1.00\",,,,,2026-01-01\n");
  EXPECT_EQ(trigger_of(alone), trigger_of(behind, 1));
}

TEST(ImportTrigger, DoesNotDependOnTheDayOfTheAnalysis) {
  const TemporaryFolder folder;
  const auto file = folder.write("d.csv", std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n");
  const auto early = import({.file = file, .tenant = {}, .mapping = {}, .as_of = day("2026-01-01"), .today = {}});
  const auto late = import({.file = file, .tenant = {}, .mapping = {}, .as_of = day("2026-02-01"), .today = {}});
  EXPECT_EQ(trigger_of(early), trigger_of(late));
}

TEST(ImportTrigger, IsAnotherForAChangedRow) {
  const auto before = import_text(std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n");
  for (const std::string_view row : {"A,Won,2,,,,,2026-01-01\n", "A,Lost,1,,,,,2026-01-01\n",
                                     "A,Won,1,Desk,,,,2026-01-01\n", "A,Won,1,,,,,2026-01-02\n"}) {
    EXPECT_NE(trigger_of(before), trigger_of(import_text(std::string(kHeader) + std::string(row)))) << row;
  }
}

TEST(ImportTrigger, IsUuidFiveOfIdAndDigestInTheTenantsNameSpace) {
  const auto got = import_text(std::string(kHeader) + "A,Won,1,,,,,2026-01-01\n");
  const auto expected = Uuid::v5(kTenant.value(), "A\n" + to_hex(got.rows[0].digest));
  EXPECT_EQ(got.rows[0].trigger_id.value(), expected);
}

// --- Joins ---

TEST(ImportJoin, WarnsOfAMissingFileAndGoesOn) {
  const auto got = import_text(std::string(kHeader) + "A,Won,1,Desk,,,,2026-01-01\n");
  EXPECT_EQ(got.rows.size(), 1U);
  EXPECT_TRUE(got.has_warning("price list products.csv, looked for beside the input, is not there"));
  EXPECT_TRUE(got.has_warning("accounts file accounts.csv, looked for beside the input, is not there"));
}

TEST(ImportJoin, WarnsOfAFileWithoutTheColumn) {
  const TemporaryFolder folder;
  folder.write("products.csv", "product,cost\nDesk,5\n");
  folder.write("accounts.csv", "account,revenue,employees,sector\nAcme,1,2,retail\n");
  const auto got = import({.file = folder.write("d.csv", std::string(kHeader) + "A,Won,1,Desk,Acme,,,2026-01-01\n"),
                           .tenant = {},
                           .mapping = {},
                           .as_of = {},
                           .today = {}});
  EXPECT_TRUE(got.has_warning("has no column 'list_price'"));
  EXPECT_EQ(got.of("A").account_sector, "retail");
}

TEST(ImportJoin, CountsWhatItDoesNotFind) {
  const TemporaryFolder folder;
  folder.write("products.csv", "product,list_price\nDesk,5\nChair,expensive\n");
  folder.write("accounts.csv", "account,revenue,employees,sector\nAcme,1,2,retail\n");
  const auto got = import({.file = folder.write("d.csv", std::string(kHeader) + "A,Won,1,Sofa,Globex,,,2026-01-01\n"),
                           .tenant = {},
                           .mapping = {},
                           .as_of = {},
                           .today = {}});
  EXPECT_TRUE(got.has_warning("1 rows without a product or a price"));
  EXPECT_TRUE(
      got.has_warning("1 rows name a product that the price list products.csv does not hold, the first is 'Sofa'"));
  EXPECT_TRUE(got.has_warning("1 rows name an account that accounts.csv does not hold, the first is 'Globex'"));
}

TEST(Import, WarnsOfAColumnThatStandsTwice) {
  const auto got = import_text("external_id,stage,amount,amount\nA,Won,1,2\n");
  EXPECT_TRUE(got.has_warning("the column 'amount' stands in the file twice"));
  EXPECT_EQ(got.of("A").amount, 1.0);
}

// --- The caller ---

TEST(Import, EndsWithTheErrorOfItsCaller) {
  const TemporaryFolder folder;
  const ImportOptions options{.file = folder.write("d.csv", std::string(kHeader) + "A,Won,1\nB,Won,1\n"),
                              .tenant = kTenant,
                              .mapping = {},
                              .as_of = {},
                              .today = {}};
  int rows = 0;
  const auto summary = read_file(
      options,
      [&](const ImportedRow&) -> Result<void> {
        ++rows;
        return fail(ErrorCode::unavailable, "the store is away");
      },
      [](const Reject&) -> Result<void> { return {}; });
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().message, "the store is away");
  EXPECT_EQ(rows, 1);
}

TEST(Import, TellsItsProgressUpToTheEnd) {
  const TemporaryFolder folder;
  std::string text(kHeader);
  for (int i = 0; i < 5'000; ++i) text += fmt::format("A{},Won,1,,,,,2026-01-01\n", i);
  std::vector<std::uint64_t> told;
  std::uint64_t total = 0;
  import({.file = folder.write("d.csv", text),
          .tenant = {},
          .mapping = {},
          .as_of = {},
          .today = {},
          .on_progress = [&](std::uint64_t done, std::uint64_t of) {
            told.push_back(done);
  total = of;
}
}  // namespace
);
EXPECT_GT(told.size(), 10U);
EXPECT_TRUE(std::ranges::is_sorted(told));
EXPECT_EQ(told.back(), total);
EXPECT_EQ(total, 2 * text.size());
}  // namespace wfo::analysis

// Whatever happens to a file: it is read to its end or refused, every row is used, repeated or rejected, and the same
// file gives the same.
TEST(Import, SurvivesAnyMutation) {
  std::ifstream in(data("salesforce.csv"), std::ios::binary);
  const std::string sample((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const TemporaryFolder folder;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    testing::Random random(seed);
    std::string text = sample;
    for (std::size_t change = 0; change <= random.below(6); ++change) {
      const std::size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.insert(at, 1, "\",\n\r;\t$-"[random.below(8)]);
          break;
        case 2:
          text.erase(at, 1 + random.below(20));
          break;
        default:
          text.insert(at, text.substr(random.below(text.size()), random.below(80)));
      }
      if (text.empty()) text = "x";
    }
    const ImportOptions options{
        .file = folder.write("m.csv", text), .tenant = {}, .mapping = {}, .as_of = {}, .today = {}};
    const auto once = import(options);
    ASSERT_EQ(once.rows.size(), once.summary.rows) << "seed " << seed;
    for (const ImportedRow& row : once.rows) {
      ASSERT_FALSE(row.opportunity.external_id.empty()) << "seed " << seed;
      ASSERT_GE(row.opportunity.amount.value_or(0), 0) << "seed " << seed;
    }
    for (const Reject& reject : once.rejects) ASSERT_FALSE(reject.reason.empty()) << "seed " << seed;
    const auto again = import(options);
    ASSERT_EQ(once.error, again.error) << "seed " << seed;
    ASSERT_EQ(once.rejects, again.rejects) << "seed " << seed;
    for (std::size_t i = 0; i < once.rows.size(); ++i) {
      ASSERT_EQ(once.rows[i].trigger_id, again.rows[i].trigger_id) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace wfo::analysis
