#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

/// Configuration as a table of settings that are bound to variables: the one place that reads YAML, environment and
/// flags, prints what holds, and says what is allowed.
namespace wfo::app {

/// One configurable value, bound to the variable that holds it.
struct Setting {
  std::string path;     // `http.port`; in the environment WFO_HTTP_PORT
  std::string help;     // one line
  std::string allowed;  // `0..65535`
  bool is_list = false;
  bool holds_secrets = false;  // is shown with *** in the place of passwords (`secrets.h`)
  /// Takes the value, or says no. A setting that is no list gets exactly one text.
  std::function<bool(const std::vector<std::string>&)> set;
  std::function<std::vector<std::string>()> get;
};

// Bindings. Text forms: durations `250ms`, `5m`; sizes `65536`, `64KiB`, `1MiB`, `1GiB`.
[[nodiscard]] Setting text_setting(std::string path, std::string& value, std::string help,
                                   std::string allowed = "a text");
[[nodiscard]] Setting path_setting(std::string path, std::filesystem::path& value, std::string help);
[[nodiscard]] Setting list_setting(std::string path, std::vector<std::string>& value, std::string help,
                                   std::vector<std::string> allowed = {});
[[nodiscard]] Setting choice_setting(std::string path, std::string help, std::vector<std::string> allowed,
                                     std::function<void(std::string_view)> set, std::function<std::string()> get);
[[nodiscard]] Setting duration_setting(std::string path, milliseconds& value, milliseconds least, milliseconds most,
                                       std::string help);
[[nodiscard]] Setting size_setting(std::string path, std::size_t& bytes, std::size_t least, std::size_t most,
                                   std::string help);
[[nodiscard]] Setting count_setting(std::string path, int& value, int least, int most, std::string help);
[[nodiscard]] Setting count_setting(std::string path, std::size_t& value, std::size_t least, std::size_t most,
                                    std::string help);
[[nodiscard]] Setting bool_setting(std::string path, bool& value, std::string help);
/// An address with a password in it. `is_allowed` says whether the text may be one.
[[nodiscard]] Setting address_setting(std::string path, std::string& value, std::string help, std::string allowed,
                                      std::function<bool(std::string_view)> is_allowed);
[[nodiscard]] Setting tenant_setting(std::string path, TenantId& value, std::string help);

/// `64KiB`, `1MiB`, `1GiB` or a number of bytes.
[[nodiscard]] std::optional<std::size_t> parse_size(std::string_view text);
[[nodiscard]] std::string format_size(std::size_t bytes);

/// Where a value came from, weakest first.
enum class Origin { built_in, file, environment, flag };
[[nodiscard]] std::string_view name(Origin origin);

class Settings {
 public:
  explicit Settings(std::vector<Setting> settings);

  /// Reads a YAML file of nested mappings. `${NAME}` and `${NAME:-default}` in values are taken from `environment`,
  /// where a variable that is empty counts as none; `$${` stands for `${`. A key without a value keeps what held.
  /// Errors: `invalid_argument`, all of them, each on a line `file:line: message`; `not_found` the file.
  [[nodiscard]] Result<void> read_file(const std::filesystem::path& file,
                                       const std::map<std::string, std::string>& environment);
  /// Takes WFO_… variables; the elements of a list are separated by commas. Errors: `invalid_argument`, all of them.
  [[nodiscard]] Result<void> read_environment(const std::map<std::string, std::string>& environment);
  /// `http.port=3051`. Errors: `invalid_argument` names the setting, the value and what is allowed.
  [[nodiscard]] Result<void> set_flag(std::string_view assignment);
  [[nodiscard]] Result<void> set(std::string_view path, const std::vector<std::string>& value, Origin origin);

  /// All settings as YAML that `read_file` takes, each with its origin and help as a comment; passwords are `***`.
  [[nodiscard]] std::string to_yaml() const;
  /// The same as JSON: {"http.port":{"value":…,"origin":…,"allowed":…}}.
  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] const std::vector<Setting>& all() const { return settings_; }
  /// WFO_HTTP_PORT
  [[nodiscard]] static std::string environment_name(std::string_view path);

 private:
  [[nodiscard]] const Setting* find(std::string_view path) const;
  std::vector<Setting> settings_;
  std::map<std::string, Origin, std::less<>> origins_;
};

/// The process's environment.
[[nodiscard]] std::map<std::string, std::string> process_environment();

}  // namespace wfo::app
