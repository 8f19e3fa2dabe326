#include "app/settings.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>

#include "app/interpolation.h"
#include "app/secrets.h"
#include "base/json.h"

namespace wfo::app {
namespace {

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

struct Unit {
  std::string_view name;
  std::size_t bytes;
};
constexpr Unit kUnits[] = {{"GiB", std::size_t{1} << 30}, {"MiB", std::size_t{1} << 20}, {"KiB", std::size_t{1} << 10}};

std::string join(const std::vector<std::string>& texts, std::string_view separator) {
  std::string joined;
  for (const auto& text : texts) {
    if (!joined.empty()) joined += separator;
    joined += text;
  }
  return joined;
}

/// The parts between commas, without the spaces around them.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = text.find(',');
    auto part = text.substr(0, comma);
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    part = part.substr(0, part.find_last_not_of(' ') + 1);
    parts.emplace_back(part);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return parts;
}

/// A setting of one value: `parse` gives it or nothing, `format` writes it.
template <class Parse, class Format>
Setting single(std::string path, std::string help, std::string allowed, Parse parse, Format format) {
  Setting setting;
  setting.path = std::move(path);
  setting.help = std::move(help);
  setting.allowed = std::move(allowed);
  setting.set = [parse](const std::vector<std::string>& texts) { return parse(texts.front()); };
  setting.get = [format] { return std::vector<std::string>{format()}; };
  return setting;
}

template <class T>
Setting number_setting(std::string path, T& value, T least, T most, std::string help) {
  return single(
      std::move(path), std::move(help), fmt::format("{}..{}", least, most),
      [&value, least, most](const std::string& text) {
        const auto number = parse_number<T>(text);
        if (!number || *number < least || *number > most) return false;
        value = *number;
        return true;
      },
      [&value] { return fmt::format("{}", value); });
}

std::string value_text(const Setting& setting) {
  auto texts = setting.get();
  if (setting.holds_secrets) std::ranges::transform(texts, texts.begin(), redacted);
  std::string text;
  const auto quoted = [](const std::string& value) {
    std::string out;
    json::append_quoted(out, value);
    return out;
  };
  if (!setting.is_list) return quoted(texts.front());
  text = "[";
  for (const auto& value : texts) text += (text.size() > 1 ? ", " : "") + quoted(value);
  return text + "]";
}

/// The line, from 1, of the `---` that begins a second YAML document; 0 if there is none. YAML::LoadAll would tell,
/// too, but goes on forever on a document that is a comma.
int second_document_line(std::string_view text) {
  bool content = false;
  for (int line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto here = text.substr(0, end);
    const bool marker = here.starts_with("---") && (here.size() == 3 || here.find_first_of(" \t\r") == 3);
    if (marker && content) return line;
    const auto first = here.find_first_not_of(" \t\r");
    content = content || marker || (first != std::string_view::npos && here[first] != '#' && here[0] != '%');
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return 0;
}

/// A text that should be an address and is none: what stands before an `@` may be a password whatever it looks like.
std::string hidden(const std::string& text) {
  const auto at = text.rfind('@');
  const std::string shown = redacted(text);
  return at == std::string::npos || shown != text ? shown : "***" + text.substr(at);
}

}  // namespace

std::optional<std::size_t> parse_size(std::string_view text) {
  for (const auto& [unit, bytes] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const auto count = parse_number<std::size_t>(text.substr(0, text.size() - unit.size()));
    if (!count || *count > std::numeric_limits<std::size_t>::max() / bytes) return std::nullopt;
    return *count * bytes;
  }
  return parse_number<std::size_t>(text);
}

std::string format_size(std::size_t bytes) {
  for (const auto& [unit, unit_bytes] : kUnits) {
    if (bytes > 0 && bytes % unit_bytes == 0) return fmt::format("{}{}", bytes / unit_bytes, unit);
  }
  return fmt::format("{}", bytes);
}

Setting text_setting(std::string path, std::string& value, std::string help, std::string allowed) {
  return single(
      std::move(path), std::move(help), std::move(allowed),
      [&value](const std::string& text) {
        value = text;
        return true;
      },
      [&value] { return value; });
}

Setting path_setting(std::string path, std::filesystem::path& value, std::string help) {
  return single(
      std::move(path), std::move(help), "a path",
      [&value](const std::string& text) {
        value = text;
        return true;
      },
      [&value] { return value.string(); });
}

Setting list_setting(std::string path, std::vector<std::string>& value, std::string help,
                     std::vector<std::string> allowed) {
  Setting setting;
  setting.path = std::move(path);
  setting.help = std::move(help);
  setting.allowed = allowed.empty() ? "a list of texts" : "a list of: " + join(allowed, ", ");
  setting.is_list = true;
  setting.set = [&value, allowed = std::move(allowed)](const std::vector<std::string>& texts) {
    for (const auto& text : texts) {
      if (!allowed.empty() && std::ranges::find(allowed, text) == allowed.end()) return false;
    }
    value = texts;
    return true;
  };
  setting.get = [&value] { return value; };
  return setting;
}

Setting choice_setting(std::string path, std::string help, std::vector<std::string> allowed,
                       std::function<void(std::string_view)> set, std::function<std::string()> get) {
  std::string names = join(allowed, ", ");
  return single(
      std::move(path), std::move(help), std::move(names),
      [allowed = std::move(allowed), set = std::move(set)](const std::string& text) {
        if (std::ranges::find(allowed, text) == allowed.end()) return false;
        set(text);
        return true;
      },
      std::move(get));
}

Setting duration_setting(std::string path, milliseconds& value, milliseconds least, milliseconds most,
                         std::string help) {
  return single(
      std::move(path), std::move(help), fmt::format("{}..{}", format_duration(least), format_duration(most)),
      [&value, least, most](const std::string& text) {
        const auto duration = parse_duration(text);
        if (!duration || *duration < least || *duration > most) return false;
        value = *duration;
        return true;
      },
      [&value] { return format_duration(value); });
}

Setting size_setting(std::string path, std::size_t& bytes, std::size_t least, std::size_t most, std::string help) {
  return single(
      std::move(path), std::move(help), fmt::format("{}..{}", format_size(least), format_size(most)),
      [&bytes, least, most](const std::string& text) {
        const auto size = parse_size(text);
        if (!size || *size < least || *size > most) return false;
        bytes = *size;
        return true;
      },
      [&bytes] { return format_size(bytes); });
}

Setting count_setting(std::string path, int& value, int least, int most, std::string help) {
  return number_setting(std::move(path), value, least, most, std::move(help));
}

Setting count_setting(std::string path, std::size_t& value, std::size_t least, std::size_t most, std::string help) {
  return number_setting(std::move(path), value, least, most, std::move(help));
}

Setting bool_setting(std::string path, bool& value, std::string help) {
  return choice_setting(
      std::move(path), std::move(help), {"true", "false"}, [&value](std::string_view text) { value = text == "true"; },
      [&value] { return std::string(value ? "true" : "false"); });
}

Setting address_setting(std::string path, std::string& value, std::string help, std::string allowed,
                        std::function<bool(std::string_view)> is_allowed) {
  Setting setting = single(
      std::move(path), std::move(help), std::move(allowed),
      [&value, is_allowed = std::move(is_allowed)](const std::string& text) {
        if (!is_allowed(text)) return false;
        value = text;
        return true;
      },
      [&value] { return value; });
  setting.holds_secrets = true;
  return setting;
}

Setting tenant_setting(std::string path, TenantId& value, std::string help) {
  return single(
      std::move(path), std::move(help), "a uuid",
      [&value](const std::string& text) {
        const auto id = TenantId::parse(text);
        if (!id) return false;
        value = *id;
        return true;
      },
      [&value] { return value.to_string(); });
}

std::string_view name(Origin origin) {
  switch (origin) {
    case Origin::built_in:
      return "default";
    case Origin::file:
      return "file";
    case Origin::environment:
      return "environment";
    case Origin::flag:
      return "flag";
  }
  return "unknown";
}

Settings::Settings(std::vector<Setting> settings) : settings_(std::move(settings)) {}

const Setting* Settings::find(std::string_view path) const {
  const auto found = std::ranges::find(settings_, path, &Setting::path);
  return found == settings_.end() ? nullptr : &*found;
}

std::string Settings::environment_name(std::string_view path) {
  std::string name = "WFO_";
  for (const char c : path) name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

Result<void> Settings::set(std::string_view path, const std::vector<std::string>& value, Origin origin) {
  const Setting* setting = find(path);
  if (!setting)
    return fail(ErrorCode::invalid_argument, "there is no setting '{}'; see `wfo config show`", redacted(path));
  if ((!setting->is_list && value.size() != 1) || !setting->set(value)) {
    return fail(ErrorCode::invalid_argument, "{} is '{}'; allowed: {}", path,
                setting->holds_secrets ? hidden(join(value, ",")) : redacted(join(value, ",")), setting->allowed);
  }
  origins_[setting->path] = origin;
  return {};
}

Result<void> Settings::set_flag(std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "--set is '{}'; allowed: NAME=VALUE", redacted(assignment));
  }
  const auto path = assignment.substr(0, equals);
  const Setting* setting = find(path);
  const auto value = assignment.substr(equals + 1);
  return set(path, setting && setting->is_list ? split(value) : std::vector<std::string>{std::string(value)},
             Origin::flag);
}

Result<void> Settings::read_environment(const std::map<std::string, std::string>& environment) {
  std::string errors;
  for (const Setting& setting : settings_) {
    const std::string variable = environment_name(setting.path);
    const auto found = environment.find(variable);
    if (found == environment.end()) continue;
    const auto value = setting.is_list ? split(found->second) : std::vector<std::string>{found->second};
    if (auto done = set(setting.path, value, Origin::environment); !done) {
      errors += fmt::format("{}{}: {}", errors.empty() ? "" : "\n", variable, done.error().message);
    }
  }
  if (!errors.empty()) return fail(ErrorCode::invalid_argument, "{}", errors);
  return {};
}

Result<void> Settings::read_file(const std::filesystem::path& file,
                                 const std::map<std::string, std::string>& environment) {
  std::ifstream stream(file);
  if (!stream) return fail(ErrorCode::not_found, "configuration file '{}' cannot be read", file.string());
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  std::string errors;
  const auto error_at = [&](int line, std::string_view message) {
    errors += fmt::format("{}{}:{}: {}", errors.empty() ? "" : "\n", file.string(), line, message);
  };
  const auto error = [&](const YAML::Mark& mark, std::string_view message) {
    error_at(std::max(0, mark.line) + 1, message);
  };
  const std::function<void(const YAML::Node&, const std::string&)> take = [&](const YAML::Node& node,
                                                                              const std::string& path) {
    if (node.IsMap()) {
      std::vector<std::string> seen;
      for (const auto& entry : node) {
        const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
        if (std::ranges::find(seen, key) != seen.end())
          error(entry.first.Mark(), fmt::format("'{}' stands twice", key));
        seen.push_back(key);
        const std::string below = path.empty() ? key : path + "." + key;
        const bool known = std::ranges::any_of(
            settings_, [&](const Setting& s) { return s.path == below || s.path.starts_with(below + "."); });
        if (known) {
          take(entry.second, below);
        } else {
          error(entry.first.Mark(), fmt::format("there is no setting '{}'; see `wfo config show`", below));
        }
      }
      return;
    }
    if (node.IsNull()) return;  // a key without a value keeps what held before
    const Setting* setting = find(path);
    if (!setting) return error(node.Mark(), fmt::format("{} must be a mapping", path.empty() ? "the file" : path));
    std::vector<std::string> value;
    const auto add = [&](const YAML::Node& scalar) {
      if (!scalar.IsScalar()) return error(scalar.Mark(), fmt::format("{}: allowed: {}", path, setting->allowed));
      auto filled = interpolate(scalar.Scalar(), environment);
      if (!filled) return error(scalar.Mark(), fmt::format("{}: {}", path, filled.error().message));
      value.push_back(*std::move(filled));
    };
    const auto errors_before = errors.size();
    if (node.IsSequence()) {
      for (const auto& element : node) add(element);
    } else {
      add(node);
    }
    if (errors.size() != errors_before) return;
    if (auto done = set(path, value, Origin::file); !done) error(node.Mark(), done.error().message);
  };
  try {
    take(YAML::Load(text), "");
    if (const int line = second_document_line(text)) {
      error_at(line, "a second document begins; allowed: one");
    }
  } catch (const YAML::Exception& exception) {
    error(exception.mark, "not YAML: " + exception.msg);
  }
  if (!errors.empty()) return fail(ErrorCode::invalid_argument, "{}", errors);
  return {};
}

std::string Settings::to_yaml() const {
  std::string yaml;
  std::string section;
  for (const Setting& setting : settings_) {
    const auto dot = setting.path.find('.');
    const std::string head = dot == std::string::npos ? "" : setting.path.substr(0, dot);
    if (head != section) {
      section = head;
      if (!head.empty()) yaml += head + ":\n";
    }
    const auto origin = origins_.find(setting.path);
    const std::string line = fmt::format("{}{}: {}", head.empty() ? "" : "  ",
                                         dot == std::string::npos ? setting.path : setting.path.substr(dot + 1),
                                         without_interpolation(value_text(setting)));
    yaml += fmt::format("{:<52} # {}{}\n", line, setting.help,
                        origin == origins_.end() ? "" : fmt::format(" (from {})", name(origin->second)));
  }
  return yaml;
}

std::string Settings::to_json() const {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  for (const Setting& setting : settings_) {
    const auto origin = origins_.find(setting.path);
    out.key(setting.path).begin_object().key("value").raw(value_text(setting));
    out.key("origin").string(name(origin == origins_.end() ? Origin::built_in : origin->second));
    out.key("allowed").string(setting.allowed).key("environment").string(environment_name(setting.path));
    out.key("help").string(setting.help).end_object();
  }
  out.end_object();
  return text;
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace wfo::app
