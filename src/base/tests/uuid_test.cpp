#include "base/uuid.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <thread>
#include <vector>

namespace wfo {
namespace {

using namespace std::chrono_literals;

// RFC 9562 §6.6 and appendix A.
constexpr std::string_view kDns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
constexpr std::string_view kUrl = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";
const Timestamp kStart{milliseconds(0x017F22E279B0)};

std::uint64_t millis_of(const Uuid& id) {
  std::uint64_t millis = 0;
  for (std::size_t i = 0; i < 6; ++i) millis = millis << 8 | id.bytes[i];
  return millis;
}

TEST(Uuid, IsReadInEitherCaseAndWrittenInLowerCase) {
  const auto id = Uuid::parse("017F22E2-79B0-7cc3-98c4-dc0c0c07398f");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->to_string(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
  EXPECT_EQ(id->bytes[0], 0x01);
  EXPECT_EQ(id->bytes[6], 0x7c);
  EXPECT_EQ(id->bytes[15], 0x8f);
  std::string text = "id=";
  id->append_to(text);
  EXPECT_EQ(text, "id=017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST(Uuid, IsNothingElse) {
  for (const std::string_view text :
       {"", "017f22e2", "017f22e279b07cc398c4dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff", "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f", " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398 ", "017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f", "017f22g2-79b0-7cc3-98c4-dc0c0c07398f",
        "-17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "+17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "0x7f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c0739é"}) {
    EXPECT_FALSE(Uuid::parse(text)) << text;
  }
}

RC_GTEST_PROP(AnyUuid, ReadsBackAndComparesLikeItsText, ()) {
  const auto any = [] {
    Uuid id;
    for (auto& byte : id.bytes) byte = *rc::gen::element<std::uint8_t>(0, 1, 0x7f, 0x80, 0xff);
    return id;
  };
  const Uuid a = any();
  const Uuid b = any();
  RC_ASSERT(Uuid::parse(a.to_string()) == a);
  RC_ASSERT(Uuid::from_bytes(a.bytes) == a);
  RC_ASSERT((a <=> b) == (a.to_string() <=> b.to_string()));
}

RC_GTEST_PROP(AnyUuid, HasNoWrongCharacter, (std::uint8_t character)) {
  std::string text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
  const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
  const bool is_dash = text[at] == '-';
  text[at] = static_cast<char>(character);
  const bool is_hex = std::string_view("0123456789abcdefABCDEF").find(text[at]) != std::string_view::npos;
  RC_ASSERT(Uuid::parse(text).has_value() == (is_dash ? text[at] == '-' : is_hex));
}

TEST(Uuid, ComesFromSixteenBytesOnly) {
  const std::vector<std::uint8_t> bytes(17, 0xab);
  EXPECT_FALSE(Uuid::from_bytes(std::span(bytes).first(15)));
  EXPECT_FALSE(Uuid::from_bytes(bytes));
  EXPECT_FALSE(Uuid::from_bytes({}));
  EXPECT_EQ(Uuid::from_bytes(std::span(bytes).first(16))->to_string(), "abababab-abab-abab-abab-abababababab");
}

TEST(Uuid, IsNilIfNothingWasPutIn) {
  EXPECT_TRUE(Uuid{}.is_nil());
  EXPECT_FALSE(system_tenant().value().is_nil());
  EXPECT_EQ(system_tenant().to_string(), "00000000-0000-0000-0000-000000000001");
}

TEST(UuidV5, IsTheOneOfTheStandardAndOfOthers) {
  const Uuid dns = Uuid::parse(kDns).value();
  const Uuid url = Uuid::parse(kUrl).value();
  EXPECT_EQ(Uuid::v5(dns, "www.example.com").to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");  // RFC 9562, A.4
  EXPECT_EQ(Uuid::v5(dns, "python.org").to_string(), "886313e1-3b8a-5372-9b90-0c9aee199e5d");  // Python's documentation
  EXPECT_EQ(Uuid::v5(url, "http://python.org/").to_string(), "4c565f0d-3f5a-5890-b41b-20cf47701c5e");
}

TEST(UuidV5, DependsOnNamespaceAndName) {
  const Uuid dns = Uuid::parse(kDns).value();
  EXPECT_EQ(Uuid::v5(dns, "a"), Uuid::v5(dns, "a"));
  EXPECT_NE(Uuid::v5(dns, "a"), Uuid::v5(dns, "b"));
  EXPECT_NE(Uuid::v5(dns, "a"), Uuid::v5(Uuid::parse(kUrl).value(), "a"));
}

TEST(OpportunityIdOfAnExternalId, IsTheUuidItselfOrOneOfTheTenantsNamespace) {
  const TenantId tenant(Uuid::parse(kDns).value());
  EXPECT_EQ(opportunity_id(tenant, "017F22E2-79B0-7CC3-98C4-DC0C0C07398F").to_string(),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
  EXPECT_EQ(opportunity_id(tenant, "www.example.com").to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
  EXPECT_NE(opportunity_id(tenant, "006xx"), opportunity_id(system_tenant(), "006xx"));
}

TEST(SystemIdSource, MakesVersionSevenWithTheTimeInFront) {
  ManualClock clock(kStart);
  SystemIdSource source(clock);
  const Uuid id = source.next();
  EXPECT_EQ(id.to_string().substr(0, 15), "017f22e2-79b0-7");  // RFC 9562, A.6
  EXPECT_EQ(id.bytes[8] & 0xc0, 0x80);
}

TEST(SystemIdSource, AscendsWhenTheClockStandsOrStepsBack) {
  ManualClock clock(kStart);
  SystemIdSource source(clock);
  Uuid last = source.next();
  const auto ascends = [&] {
    const Uuid id = source.next();
    const bool greater = id > last;
    last = id;
    return greater && (id.bytes[6] >> 4) == 7 && (id.bytes[8] >> 6) == 2;
  };
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(ascends());
  clock.advance(-1h);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(ascends());
  clock.advance(1h + 1ms);
  ASSERT_TRUE(ascends());
  EXPECT_EQ(millis_of(last), static_cast<std::uint64_t>(clock.now().time_since_epoch().count()));
}

RC_GTEST_PROP(SystemIdSourceOfAnyClock, Ascends, (const std::vector<std::int16_t>& steps)) {
  ManualClock clock(kStart);
  SystemIdSource source(clock);
  Uuid last = source.next();
  for (const std::int16_t step : steps) {
    clock.advance(milliseconds(step / 1000));
    const Uuid id = source.next();
    RC_ASSERT(id > last);
    last = id;
  }
}

// 2^26 ids fit into a millisecond; then time goes on without the clock.
TEST(SystemIdSource, AscendsWhenAMillisecondIsUsedUp) {
  ManualClock clock(kStart);
  SystemIdSource source(clock);
  Uuid last = source.next();
  const std::uint64_t first_millis = millis_of(last);
  for (int i = 0; i < 1 << 26; ++i) {
    const Uuid id = source.next();
    ASSERT_TRUE(id > last);
    last = id;
  }
  EXPECT_EQ(millis_of(last), first_millis + 1);
}

TEST(SystemIdSource, GivesEachThreadItsOwn) {
  const SystemClock clock;
  SystemIdSource source(clock);
  std::vector<std::vector<Uuid>> ids(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : ids) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10'000; ++i) mine.push_back(source.next());
      });
    }
  }
  std::set<Uuid> all;
  for (const auto& mine : ids) {
    EXPECT_TRUE(std::ranges::is_sorted(mine));
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(all.size(), 40'000U);
}

TEST(SystemIdSource, DiffersFromAnyOther) {
  ManualClock clock(kStart);
  SystemIdSource one(clock);
  SystemIdSource other(clock);
  EXPECT_NE(one.next(), other.next());
  EXPECT_NE(one.random(), other.random());
  EXPECT_NE(one.random(), one.random());
}

TEST(Id, IsHashedByItsValue) {
  std::set<std::size_t> hashes;
  const SystemClock clock;
  SystemIdSource source(clock);
  for (int i = 0; i < 1000; ++i) hashes.insert(std::hash<EventId>{}(EventId(source.next())));
  EXPECT_EQ(hashes.size(), 1000U);
  EXPECT_EQ(std::hash<EventId>{}(EventId{}), std::hash<Uuid>{}(Uuid{}));
}

}  // namespace
}  // namespace wfo
