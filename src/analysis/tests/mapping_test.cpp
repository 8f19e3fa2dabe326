#include "analysis/mapping.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace wfo::analysis {
namespace {

using store::StageState;

constexpr std::string_view kSmall = R"(name: small
columns:
  external_id: id
  stage: stage
stages: {won: Won, lost: Lost}
)";

std::string error_of(std::string_view yaml) {
  const auto mapping = parse_mapping(yaml, "m.yaml");
  return mapping ? "" : mapping.error().message;
}

const Mapping& built_in(std::string_view name) {
  const auto& all = built_in_mappings();
  const auto found = std::ranges::find(all, name, &Mapping::name);
  EXPECT_NE(found, all.end()) << name;
  return *found;
}

// --- Dates ---

struct DateCase {
  std::string name;
  std::string text;
  DateFormat format;
  std::string date;  // "": refused
};
class DateCell : public ::testing::TestWithParam<DateCase> {};
TEST_P(DateCell, IsRead) {
  const auto& [name, text, format, expected] = GetParam();
  const auto date = parse_date_cell(text, std::span(&format, 1));
  EXPECT_EQ(date ? format_date(*date) : "", expected) << text;
}
INSTANTIATE_TEST_SUITE_P(
    Formats, DateCell,
    ::testing::Values(DateCase{"iso", "2017-03-01", DateFormat::iso, "2017-03-01"},
                      DateCase{"iso_short", "2017-3-1", DateFormat::iso, "2017-03-01"},
                      DateCase{"iso_timestamp", "2017-03-01T09:30:00.000Z", DateFormat::iso, "2017-03-01"},
                      DateCase{"iso_offset", "2017-03-01T09:30:00+01:00", DateFormat::iso, "2017-03-01"},
                      DateCase{"iso_space", "2017-03-01 09:30", DateFormat::iso, "2017-03-01"},
                      DateCase{"iso_no_such_day", "2017-02-29", DateFormat::iso, ""},
                      DateCase{"iso_leap_day", "2016-02-29", DateFormat::iso, "2016-02-29"},
                      DateCase{"iso_bad_time", "2017-03-01T25:00", DateFormat::iso, ""},
                      DateCase{"iso_tail", "2017-03-01x", DateFormat::iso, ""},
                      DateCase{"us", "3/1/2017", DateFormat::us, "2017-03-01"},
                      DateCase{"us_time", "3/1/2017 9:30 AM", DateFormat::us, "2017-03-01"},
                      DateCase{"us_month_13", "13/1/2017", DateFormat::us, ""},
                      DateCase{"us_two_digit_year", "3/1/17", DateFormat::us, ""},
                      DateCase{"european_dots", "1.3.2017", DateFormat::european, "2017-03-01"},
                      DateCase{"european_slashes", "01/03/2017", DateFormat::european, "2017-03-01"},
                      DateCase{"epoch", "1488326400000", DateFormat::epoch_ms, "2017-03-01"},
                      DateCase{"epoch_seconds", "148832640", DateFormat::epoch_ms, ""},
                      DateCase{"spaces", "  2017-03-01\xC2\xA0", DateFormat::iso, "2017-03-01"},
                      DateCase{"empty", "", DateFormat::iso, ""}, DateCase{"words", "soon", DateFormat::us, ""},
                      DateCase{"before_1900", "1/1/1899", DateFormat::us, ""}),
    [](const auto& tested) { return tested.param.name; });

// --- Numbers ---

struct NumberCase {
  std::string name;
  std::string text;
  NumberFormat format;
  std::optional<double> number;
};
class NumberCell : public ::testing::TestWithParam<NumberCase> {};
TEST_P(NumberCell, IsRead) { EXPECT_EQ(parse_number_cell(GetParam().text, GetParam().format), GetParam().number); }
INSTANTIATE_TEST_SUITE_P(Formats, NumberCell,
                         ::testing::Values(NumberCase{"whole", "1200", NumberFormat::us, 1200.0},
                                           NumberCase{"grouped", "1,200.50", NumberFormat::us, 1200.5},
                                           NumberCase{"millions", "12,345,678", NumberFormat::us, 12345678.0},
                                           NumberCase{"dollar", "$1,200.50", NumberFormat::us, 1200.5},
                                           NumberCase{"us_dollar", "US$ 5", NumberFormat::us, 5.0},
                                           NumberCase{"code_before", "EUR 1,200", NumberFormat::us, 1200.0},
                                           NumberCase{"code_behind", "1.200,50 EUR", NumberFormat::european, 1200.5},
                                           NumberCase{"euro", "1.200,50 €", NumberFormat::european, 1200.5},
                                           NumberCase{"percent", "60%", NumberFormat::us, 60.0},
                                           NumberCase{"parentheses", "(300)", NumberFormat::us, -300.0},
                                           NumberCase{"minus_dollar", "-$5", NumberFormat::us, -5.0},
                                           NumberCase{"dollar_minus", "$-5", NumberFormat::us, -5.0},
                                           NumberCase{"exponent", "1.2e3", NumberFormat::us, 1200.0},
                                           NumberCase{"fraction_only", ".5", NumberFormat::us, 0.5},
                                           NumberCase{"european_comma_as_us", "12,5", NumberFormat::us, std::nullopt},
                                           NumberCase{"bad_groups", "1,20,000", NumberFormat::us, std::nullopt},
                                           NumberCase{"thousands_as_k", "10k", NumberFormat::us, std::nullopt},
                                           NumberCase{"millions_as_m", "5M", NumberFormat::us, std::nullopt},
                                           NumberCase{"words", "n/a", NumberFormat::us, std::nullopt},
                                           NumberCase{"sign_alone", "$", NumberFormat::us, std::nullopt},
                                           NumberCase{"two_points", "1.2.3", NumberFormat::us, std::nullopt},
                                           NumberCase{"too_large", "1e999", NumberFormat::us, std::nullopt},
                                           NumberCase{"not_a_number", "nan", NumberFormat::us, std::nullopt},
                                           NumberCase{"hexadecimal", "0x10", NumberFormat::us, std::nullopt},
                                           NumberCase{"minus_alone", "-", NumberFormat::us, std::nullopt},
                                           NumberCase{"empty", "", NumberFormat::us, std::nullopt}),
                         [](const auto& tested) { return tested.param.name; });

TEST(FlagCell, IsReadInAnyCase) {
  for (const std::string_view yes : {"true", "Yes", "Y", "1", "x"}) EXPECT_EQ(parse_flag_cell(yes), true) << yes;
  for (const std::string_view no : {"FALSE", "no", "n", "0"}) EXPECT_EQ(parse_flag_cell(no), false) << no;
  EXPECT_EQ(parse_flag_cell("perhaps"), std::nullopt);
}

// --- Files ---

TEST(MappingFile, NeedsNoMoreThanIdStageAndMeaning) {
  const auto mapping = parse_mapping(kSmall, "m.yaml");
  ASSERT_TRUE(mapping) << mapping.error().message;
  EXPECT_EQ(mapping->columns_of(Field::external_id), std::vector<std::string>{"id"});
  EXPECT_EQ(mapping->state_of("won"), StageState::won);
  EXPECT_EQ(mapping->state_of("Won"), StageState::won);
  EXPECT_EQ(mapping->state_of("LOST (Partner pipeline)"), StageState::lost);
  EXPECT_EQ(mapping->state_of("Meeting"), std::nullopt);
}

TEST(MappingFile, TellsAllThatIsWrongWithItsLines) {
  const std::string error = error_of(R"(name: broken
colums: {}
columns:
  external_id: id
  size: x
dates: [iso, chinese]
numbers: roman
zero_amount_unknown: [maybe]
stages: {won: Won, lost: won}
joins:
  price_list: {file: ../secret.csv, product: p, price: q}
)");
  for (const std::string_view part :
       {"m.yaml:2: a mapping has no key 'colums'", "m.yaml:5: columns has no key 'size'",
        "m.yaml:6: 'chinese' is no date format; allowed: iso, us, european, epoch_ms",
        "m.yaml:7: numbers is 'roman'; allowed: us, european", "'maybe' is no state; allowed: open, won, lost",
        "the stage 'Won' stands in two of open, won and lost", "columns needs 'stage' or 'state'",
        "m.yaml:11: file is '../secret.csv'; allowed: a path below the input's folder"}) {
    EXPECT_NE(error.find(part), std::string::npos) << part << "\nnot in:\n" << error;
  }
}

TEST(MappingFile, RefusesDatesThatCannotBeToldApart) {
  EXPECT_NE(error_of(std::string(kSmall) + "dates: [us, european]\n").find("cannot be told apart"), std::string::npos);
}

TEST(MappingFile, NeedsStagesUnlessAColumnSaysTheState) {
  EXPECT_NE(error_of("name: a\ncolumns: {external_id: id, stage: s}\n").find("needs 'stages'"), std::string::npos);
  EXPECT_EQ(error_of("name: a\ncolumns: {external_id: id, state: s}\n"), "");
}

TEST(MappingFile, OfWhatIsNoYamlSaysSo) { EXPECT_NE(error_of("a: [").find("no YAML"), std::string::npos); }

// --- Built-in ones ---

struct HeaderCase {
  std::string name;
  std::string mapping;
  std::vector<std::string> headers;
};
class Headers : public ::testing::TestWithParam<HeaderCase> {};
TEST_P(Headers, PickTheirMapping) {
  const auto mapping = pick_mapping(built_in_mappings(), GetParam().headers);
  ASSERT_TRUE(mapping) << mapping.error().message;
  EXPECT_EQ(mapping->name, GetParam().mapping);
}
INSTANTIATE_TEST_SUITE_P(
    BuiltIn, Headers,
    ::testing::Values(
        HeaderCase{"salesforce_report",
                   "salesforce",
                   {"Opportunity Owner", "Account Name", "Opportunity Name", "Stage", "Fiscal Period", "Amount",
                    "Probability (%)", "Age", "Close Date", "Created Date", "Next Step", "Lead Source", "Type",
                    "Opportunity ID"}},
        HeaderCase{"salesforce_data_loader",
                   "salesforce",
                   {"ID", "ISDELETED", "ACCOUNTID", "NAME", "STAGENAME", "AMOUNT", "PROBABILITY", "CLOSEDATE",
                    "CREATEDDATE", "OWNERID", "LASTACTIVITYDATE"}},
        HeaderCase{"hubspot_export",
                   "hubspot",
                   {"Record ID", "Deal Name", "Deal Stage", "Close Date", "Deal owner", "Amount", "Create Date",
                    "Pipeline", "Associated Company (Primary)"}},
        HeaderCase{"hubspot_older_export", "hubspot", {"Deal ID", "Deal Name", "Deal Stage", "Amount", "Close Date"}},
        HeaderCase{
            "hubspot_api", "hubspot", {"hs_object_id", "dealname", "dealstage", "amount", "closedate", "createdate"}},
        HeaderCase{"public_data_set",
                   "crm-sales-opportunities",
                   {"opportunity_id", "sales_agent", "product", "account", "deal_stage", "engage_date", "close_date",
                    "close_value"}},
        HeaderCase{"our_own_json", "wfo", {"externalId", "stage", "amount", "createdOn"}},
        HeaderCase{"our_own_csv", "wfo", {"opportunity_id", "stage", "amount", "created_on", "close_on"}}),
    [](const auto& tested) { return tested.param.name; });

TEST(PickMapping, SaysWhatEachOneLacks) {
  const std::vector<std::string> headers{"Foo", "Deal Stage"};
  const auto mapping = pick_mapping(built_in_mappings(), headers);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(mapping.error().message.find("'Foo, Deal Stage'"), std::string::npos) << mapping.error().message;
  EXPECT_NE(mapping.error().message.find("hubspot wants one of: Record ID"), std::string::npos)
      << mapping.error().message;
}

TEST(BuiltInMappings, KnowTheirStages) {
  EXPECT_EQ(built_in("salesforce").state_of("Closed Won"), StageState::won);
  EXPECT_EQ(built_in("salesforce").state_of("Closed Lost"), StageState::lost);
  EXPECT_EQ(built_in("salesforce").state_of("Id. Decision Makers"), StageState::open);
  EXPECT_EQ(built_in("hubspot").state_of("closedwon"), StageState::won);
  EXPECT_EQ(built_in("hubspot").state_of("Closed lost (Sales Pipeline)"), StageState::lost);
  EXPECT_EQ(built_in("crm-sales-opportunities").state_of("Engaging"), StageState::open);
  EXPECT_EQ(built_in("crm-sales-opportunities").state_of("Meeting"), std::nullopt);
}

TEST(BuiltInMappings, AreReadAsTheyStandInTheSources) {
  for (const std::string_view name : {"crm-sales-opportunities", "hubspot", "salesforce", "wfo"}) built_in(name);
  EXPECT_EQ(built_in_mappings().size(), 4U);
}

}  // namespace
}  // namespace wfo::analysis
