#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api/detail/request_reader.h"

namespace wfo::api {
namespace {

using detail::RequestReader;
using Outcome = RequestReader::Outcome;

HttpConfig small() {
  HttpConfig config;
  config.request_line_bytes_max = 100;
  config.headers_bytes_max = 400;
  config.body_bytes_max = 50;
  return config;
}

struct Row {
  std::string name;
  std::string bytes;
  int status;  // of the refusal; 0: the request is whole, -1: it has not ended
  std::string target = {};
  std::string body = {};
};

std::string chunked(std::string_view chunks) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunks);
}

std::string with(std::string_view fields, std::string_view body = {}) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: localhost\r\n{}\r\n{}", fields, body);
}

const std::string kGet = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"Get", kGet, 0, "/x"},
      {"EmptyLinesBefore", "\r\n\r\n" + kGet, 0, "/x"},
      {"GetWithABody", "GET /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 0, "/x", "{}"},
      {"ContentLength", with("Content-Length: 5\r\n", "hello"), 0, "/x", "hello"},
      {"ContentLengthOfNothing", with("Content-Length: 0\r\n"), 0, "/x"},
      {"Chunks", chunked("5\r\nhello\r\n1\r\n \r\n005\r\nworld\r\n0\r\n\r\n"), 0, "/x", "hello world"},
      {"ChunkExtensions", chunked("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"), 0, "/x", "hello"},
      {"Trailer", chunked("5\r\nhello\r\n0\r\nX-Digest: 1\r\n\r\n"), 0, "/x", "hello"},
      {"ChunkedInCapitals", "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 0,
       "/x"},
      {"Http10", "GET /x HTTP/1.0\r\n\r\n", 0, "/x"},
      {"AbsoluteForm", "GET http://127.0.0.1:80/x?y=1 HTTP/1.1\r\nHost: other\r\n\r\n", 0, "/x?y=1"},
      {"AbsoluteFormWithoutPath", "GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, "/"},
      {"AbsoluteFormWithQueryOnly", "GET http://localhost?y HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, "/?y"},
      {"LoopbackOrigin", with("Origin: http://localhost:5173\r\n"), 0, "/x"},
      {"FoldedField", with("X-Long: one\r\n two\r\n"), 0, "/x"},

      {"Nothing", "", -1},
      {"HalfAnEmptyLine", "\r", -1},
      {"HalfARequestLine", "GET /x HT", -1},
      {"HalfAHeader", "GET /x HTTP/1.1\r\nHost: localhost\r\n", -1},
      {"HalfABody", with("Content-Length: 5\r\n", "hell"), -1},
      {"NoLastChunk", chunked("5\r\nhello\r\n"), -1},
      {"NoEndOfTrailer", chunked("5\r\nhello\r\n0\r\n"), -1},

      {"Garbage", "\x16\x03\x01 this is TLS\r\n\r\n", 400},
      {"NoMethod", " / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"NoTarget", "GET HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"TwoSpaces", "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"NoVersion", "GET /\r\nHost: localhost\r\n\r\n", 400},
      {"BadVersion", "GET / HTTQ/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"Http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"Http09", "GET / HTTP/0.9\r\nHost: localhost\r\n\r\n", 505},
      {"BareLineFeeds", "GET / HTTP/1.1\nHost: localhost\n\n", 400},
      {"BareLineFeedsAfterFields", "GET / HTTP/1.1\r\nHost: localhost\n\n", 400},
      {"ControlCharacterInTarget", "GET /a\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"ControlCharacterInField", with(std::string("X: a\0b\r\n", 8)), 400},
      {"RawUtf8InTarget", "GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"FragmentInTarget", "GET /x#y HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"Asterisk", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"RelativeTarget", "GET x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"OtherScheme", "GET ftp://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"SpaceBeforeColon", with("Content-Length : 5\r\n", "hello"), 400},
      {"FieldWithoutColon", with("Content-Length\r\n"), 400},
      {"FieldWithoutName", with(": x\r\n"), 400},

      {"Trace", "TRACE /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
      {"Connect", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
      {"UnknownMethod", "BREW /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
      {"LowerCaseMethod", "get /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},

      {"LengthAndEncoding", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {"EncodingAndLength", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400},
      {"UnknownEncodingAndLength", with("Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", "hello"), 400},
      {"TwoLengths", with("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
      {"TheSameLengthTwice", with("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
      {"ListOfLengths", with("Content-Length: 5, 5\r\n", "hello"), 400},
      {"NegativeLength", with("Content-Length: -5\r\n", "hello"), 400},
      {"SignedLength", with("Content-Length: +5\r\n", "hello"), 400},
      {"HexadecimalLength", with("Content-Length: 0x5\r\n", "hello"), 400},
      {"EmptyLength", with("Content-Length:\r\n", "hello"), 400},
      {"HugeLength", with("Content-Length: 99999999999999999999999\r\n"), 400},
      {"TwoEncodings", with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {"ChunkedTwice", with("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 501},
      {"GzipThenChunked", with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
      {"ChunkedThenGzip", with("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), 501},
      {"Gzip", with("Transfer-Encoding: gzip\r\n", "0\r\n\r\n"), 501},
      {"IdentityEncoding", with("Transfer-Encoding: identity\r\n"), 501},
      {"EmptyEncoding", with("Transfer-Encoding:\r\n"), 501},
      {"EncodingInHttp10", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"ChunkSizeThatIsNone", chunked("xyz\r\nhello\r\n0\r\n\r\n"), 400},
      {"ChunkSizeWithSign", chunked("-5\r\nhello\r\n0\r\n\r\n"), 400},
      {"ChunkSizeWithPrefix", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400},
      {"ChunkSizeBeyondAll", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400},
      {"ChunkLongerThanItsSize", chunked("4\r\nhello\r\n0\r\n\r\n"), 400},
      {"LengthInTrailer", chunked("0\r\nContent-Length: 5\r\n\r\n"), 400},

      {"NoHost", "GET /x HTTP/1.1\r\n\r\n", 400},
      {"TwoHosts", "GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400},
      {"ForeignHost", "GET /x HTTP/1.1\r\nHost: evil.example:3051\r\n\r\n", 403},
      {"ForeignHostInHttp10", "GET /x HTTP/1.0\r\nHost: evil.example\r\n\r\n", 403},
      {"ForeignAbsoluteForm", "GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 403},
      {"ForeignOrigin", with("Origin: https://evil.example\r\n"), 403},
      {"NullOrigin", with("Origin: null\r\n"), 403},
      {"OtherExpectation", with("Expect: cake\r\nContent-Length: 5\r\n"), 417},

      {"LongRequestLine", "GET /" + std::string(100, 'x') + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414},
      {"LongRequestLineWithoutEnd", "GET /" + std::string(100, 'x'), 414},
      {"LongHeader", with("X: " + std::string(400, 'x') + "\r\n"), 431},
      {"LongHeaderWithoutEnd", "GET /x HTTP/1.1\r\nX: " + std::string(400, 'x'), 431},
      {"ManyFields",
       "GET /x HTTP/1.1\r\nHost: localhost\r\n" +
           [] {
             std::string fields;
             for (int i = 0; i < 200; ++i) fields += "a:\r\n";
             return fields;
           }() +
           "\r\n",
       431},
      {"LongBody", with("Content-Length: 51\r\n"), 413},
      {"LongestBody", with("Content-Length: 50\r\n", std::string(50, 'x')), 0, "/x", std::string(50, 'x')},
      {"LongChunk", chunked("33\r\nx"), 413},
      {"LongSumOfChunks", chunked("19\r\n" + std::string(25, 'x') + "\r\n1a\r\n"), 413},
      {"LongChunkExtension", chunked("5;" + std::string(500, 'x')), 431},
      {"LongTrailer", chunked("0\r\nX: " + std::string(500, 'x')), 431},
      {"MoreFramingThanBody", chunked([] {
         std::string chunks;
         for (int i = 0; i < 20; ++i) chunks += "1;" + std::string(100, 'x') + "\r\nx\r\n";
         return chunks;
       }()),
       413},
  };
  return all;
}

struct Reading {
  int status = -1;
  std::string target;
  std::string body;
  std::string left;
  bool operator==(const Reading&) const = default;
};

/// Reads `bytes`, which arrive in pieces of the sizes that `size_of_piece` gives.
template <class SizeOfPiece>
Reading read(std::string_view bytes, SizeOfPiece size_of_piece, bool over_local_socket = false) {
  const HttpConfig config = small();
  RequestReader reader(config, over_local_socket);
  std::string input;
  Outcome outcome = reader.read(input);
  while (!bytes.empty() && (outcome == Outcome::more || outcome == Outcome::proceed)) {
    const auto size = std::clamp<std::size_t>(size_of_piece(), 1, bytes.size());
    input += bytes.substr(0, size);
    bytes.remove_prefix(size);
    outcome = reader.read(input);
  }
  Reading reading;
  if (outcome == Outcome::refused) reading.status = reader.refusal().status;
  if (outcome == Outcome::whole) {
    reading = {0, reader.request().target, reader.request().body, input + std::string(bytes)};
  }
  return reading;
}

class RequestTable : public testing::TestWithParam<Row> {};

TEST_P(RequestTable, IsJudgedAlikeInOnePieceAndByteByByte) {
  const auto& row = GetParam();
  const Reading expected{row.status, row.target, row.body, {}};
  EXPECT_EQ(read(row.bytes, [&] { return row.bytes.size(); }), expected);
  EXPECT_EQ(read(row.bytes, [] { return 1; }), expected);
}

INSTANTIATE_TEST_SUITE_P(Http, RequestTable, testing::ValuesIn(rows()), [](const auto& row) { return row.param.name; });

void PrintTo(const Reading& reading, std::ostream* out) {
  *out << reading.status << " " << reading.target << " '" << reading.body << "' left '" << reading.left << "'";
}

RC_GTEST_PROP(RequestReaderProperty, PiecesDoNotMatter, ()) {
  const auto row = *rc::gen::elementOf(rows());
  const auto reading = read(row.bytes, [] { return *rc::gen::inRange<std::size_t>(1, 40); });
  RC_ASSERT(reading.status == row.status);
  RC_ASSERT(reading.body == row.body);
}

RC_GTEST_PROP(RequestReaderProperty, TakesNothingOfTheNextRequest, ()) {
  const auto row = *rc::gen::suchThat(rc::gen::elementOf(rows()), [](const Row& r) { return r.status == 0; });
  const auto size = *rc::gen::inRange<std::size_t>(1, 300);
  const auto reading = read(row.bytes + kGet + kGet, [&] { return size; });
  RC_ASSERT(reading.body == row.body);
  RC_ASSERT(reading.left == kGet + kGet);
}

RC_GTEST_PROP(RequestReaderProperty, SurvivesAnyByteBeingAnother, ()) {
  auto bytes = (*rc::gen::elementOf(rows())).bytes + kGet;
  for (int changes = *rc::gen::inRange(1, 4); changes > 0; --changes) {
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<char>();
  }
  const auto size = *rc::gen::inRange<std::size_t>(1, 300);
  const auto reading = read(bytes, [&] { return size; });
  RC_ASSERT(reading.body.size() <= small().body_bytes_max);
  RC_ASSERT(reading.status == -1 || reading.status == 0 || (reading.status >= 400 && reading.status < 600));
}

TEST(RequestReader, DoesNotAskWhereALocalClientComesFrom) {
  const auto whole = [] { return std::size_t{1000}; };
  EXPECT_EQ(read("GET /x HTTP/1.1\r\nHost: wfo\r\nOrigin: null\r\n\r\n", whole, true).status, 0);
}

TEST(RequestReader, KeepsTheHeadersThatCameBeforeTheBody) {
  const HttpConfig config = small();
  RequestReader reader(config, false);
  std::string input =
      with("Transfer-Encoding: chunked\r\nX-Who: me\r\nx-who: you\r\n", "1\r\n \r\n0\r\nX-Late: 1\r\n\r\n");
  ASSERT_EQ(reader.read(input), Outcome::whole);
  EXPECT_EQ(reader.request().headers.find("X-WHO"), "me");
  EXPECT_EQ(reader.request().headers.find("X-Late"), std::nullopt);
  EXPECT_EQ(reader.method(), "POST");
}

TEST(RequestReader, ProceedsOnceTheHeaderIsGood) {
  const HttpConfig config = small();
  RequestReader reader(config, false);
  std::string input = with("Expect: 100-Continue\r\nContent-Length: 5\r\n");
  ASSERT_EQ(reader.read(input), Outcome::proceed);
  input += "he";
  ASSERT_EQ(reader.read(input), Outcome::more);
  input += "llo";
  ASSERT_EQ(reader.read(input), Outcome::whole);
  EXPECT_EQ(reader.request().body, "hello");

  RequestReader eager(config, false);
  input = with("Expect: 100-continue\r\nContent-Length: 5\r\n", "h");
  EXPECT_EQ(eager.read(input), Outcome::more) << "a client that sends already need not be told to";
}

TEST(RequestReader, KnowsWhetherTheConnectionStays) {
  const auto stays = [](std::string bytes) {
    const HttpConfig config = small();
    RequestReader reader(config, false);
    EXPECT_EQ(reader.read(bytes), Outcome::whole);
    return reader.keep_alive();
  };
  EXPECT_TRUE(stays(kGet));
  EXPECT_FALSE(stays(with("Connection: Close\r\n")));
  EXPECT_FALSE(stays(with("Connection: x, close\r\n")));
  EXPECT_FALSE(stays("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(stays("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

}  // namespace
}  // namespace wfo::api
