#include "base/digest.h"

#include <gtest/gtest.h>

namespace wfo {
namespace {

using namespace std::string_literals;

// The examples of FIPS 180-2, appendix B, and the digest of nothing.
constexpr std::string_view kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, IsTheOneOfTheStandard) {
  EXPECT_EQ(to_hex(sha256("")), kEmpty);
  EXPECT_EQ(to_hex(sha256("abc")), kAbc);
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, TakesEveryByte) { EXPECT_NE(sha256("a\0b"s), sha256("a")); }

TEST(Hex, WritesTwoDigitsForEachByte) {
  EXPECT_EQ(to_hex(std::string_view()), "");
  EXPECT_EQ(to_hex("\0\x0f\xf0\xff"s), "000ff0ff");
}

TEST(ShortDigest, IsTheBeginningOfSha256) {
  EXPECT_EQ(short_digest(""), 0xe3b0c44298fc1c14U);
  EXPECT_EQ(short_digest("abc"), 0xba7816bf8f01cfeaU);
}

}  // namespace
}  // namespace wfo
