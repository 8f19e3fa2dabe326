#include "store/sqlite/data_directory.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "store/sqlite/tests/fixtures.h"

namespace wfo::store::sqlite {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(DataDirectory, IsMadeForItsOwnerOnly) {
  const test::TemporaryDirectory root;
  const auto path = root / "a" / "b";
  const auto directory = DataDirectory::open(path);
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_EQ(directory->path(), path);
  EXPECT_EQ(directory->socket_path(), path / "wfo.sock");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  EXPECT_EQ(read_file(path / "wfo.lock"), std::to_string(::getpid()) + "\n");
}

TEST(DataDirectory, IsHeldByOneProcessWhoseIdOthersAreTold) {
  const test::TemporaryDirectory root;
  auto first = DataDirectory::open(root.path());
  ASSERT_TRUE(first) << first.error().message;
  // A lock of the same process counts as well, since it stands for the open file.
  const auto second = DataDirectory::open(root.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos) << second.error().message;
  EXPECT_NE(second.error().message.find(root.path().string()), std::string::npos) << second.error().message;

  const DataDirectory moved = *std::move(first);
  EXPECT_FALSE(DataDirectory::open(root.path()));
}

TEST(DataDirectory, IsFreeAgainWhenItsHolderHasGone) {
  const test::TemporaryDirectory root;
  { EXPECT_TRUE(DataDirectory::open(root.path())); }
  EXPECT_TRUE(DataDirectory::open(root.path()));
  // Also when it had no time to tidy up.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto held = DataDirectory::open(root.path());
    ::_exit(held ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(root / "wfo.lock"), std::to_string(child) + "\n");
  EXPECT_TRUE(DataDirectory::open(root.path()));
}

TEST(DataDirectory, SaysThatAPathIsNoFolder) {
  const test::TemporaryDirectory root;
  std::ofstream(root / "file") << "x";
  const auto at_file = DataDirectory::open(root / "file");
  ASSERT_FALSE(at_file);
  EXPECT_EQ(at_file.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(at_file.error().message.find((root / "file").string()), std::string::npos);

  const auto below_file = DataDirectory::open(root / "file" / "below");
  ASSERT_FALSE(below_file);
  EXPECT_EQ(below_file.error().code, ErrorCode::unavailable);
  EXPECT_NE(below_file.error().message.find("Not a directory"), std::string::npos) << below_file.error().message;

  EXPECT_EQ(DataDirectory::open("").error().code, ErrorCode::invalid_argument);
}

TEST(DataDirectory, SaysThatAFolderCannotBeWritten) {
  const test::TemporaryDirectory root;
  ASSERT_EQ(::chmod(root.path().c_str(), 0555), 0);
  // Root may write everywhere, so as root this is tried by a child that is somebody else.
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65'534) != 0) ::_exit(2);
    const auto opened = DataDirectory::open(root.path());
    const std::string message =
        opened ? "it was opened" : fmt::format("{}: {}", name(opened.error().code), opened.error().message);
    ::_exit(::write(ends[1], message.data(), message.size()) == static_cast<ssize_t>(message.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string message(1'000, '\0');
  const auto length = ::read(ends[0], message.data(), message.size());
  message.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  ::close(ends[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(message.starts_with("unavailable: ")) << message;
  EXPECT_NE(message.find((root / "wfo.lock").string()), std::string::npos) << message;
  EXPECT_NE(message.find("Permission denied"), std::string::npos) << message;
}

}  // namespace
}  // namespace wfo::store::sqlite
