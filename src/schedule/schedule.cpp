#include "schedule/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/digest.h"

namespace wfo::schedule {

namespace {

using std::chrono::seconds;

constexpr std::array kPolicies{OverlapPolicy::skip, OverlapPolicy::buffer_one, OverlapPolicy::buffer_all,
                               OverlapPolicy::cancel_other, OverlapPolicy::allow_all};
// Words that stand where a job's name could stand in a path: /api/v1/jobs/runs.
constexpr std::array<std::string_view, 3> kReserved{"preview", "runs", "schedules"};

// A text as it may stand in a message: whatever it holds, one line of bounded length.
std::string one_line(std::string_view text) {
  constexpr std::size_t kShownMax = 80;
  std::string shown;
  for (const char c : text.substr(0, kShownMax)) shown += (c >= 0x20 && c < 0x7f) ? c : '?';
  return shown + (text.size() > kShownMax ? "..." : "");
}

std::string shown(json::Value value) {
  if (const auto text = value.string()) return fmt::format("'{}'", one_line(*text));
  return one_line(value.raw());
}

// Whether it has more levels than `levels_max`, itself counted.
bool is_deeper(json::Value value, int levels_max) {
  if (!value.is_object() && !value.is_array()) return false;
  if (levels_max == 0) return true;
  for (const auto& [key, member] : value.members()) {
    if (is_deeper(member, levels_max - 1)) return true;
  }
  for (const json::Value element : value.elements()) {
    if (is_deeper(element, levels_max - 1)) return true;
  }
  return false;
}

// Everything that is wrong, to be told at once.
class Problems {
 public:
  template <class... Args>
  void add(std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
    if (!lines_.empty()) lines_ += '\n';
    lines_ += fmt::format("{}: {}", where, fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] bool none() const { return lines_.empty(); }
  [[nodiscard]] std::unexpected<Error> take() && {
    return std::unexpected(Error{ErrorCode::invalid_argument, std::move(lines_)});
  }

 private:
  std::string lines_;
};

struct Field {
  std::string_view name;
  bool required;
  std::function<void(json::Value value, std::string_view where)> read;
};

void read_object(json::Value value, std::string_view where, Problems& problems, const std::vector<Field>& fields) {
  std::string allowed;
  for (const Field& field : fields) allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", field.name);
  if (!value.is_object()) return problems.add(where, "{}; allowed: an object of {}", shown(value), allowed);
  for (const auto& [key, member] : value.members()) {
    const auto field = std::ranges::find_if(fields, [&](const Field& known) { return key.equals(known.name); });
    if (field == fields.end()) {
      problems.add(where, "unknown member {}; allowed: {}", shown(key), allowed);
    } else {
      field->read(member, fmt::format("{}: {}", where, field->name));
    }
  }
  for (const Field& field : fields) {
    if (field.required && !value.find(field.name)) problems.add(where, "{} is missing", field.name);
  }
}

void read_note(json::Value value, std::string_view where, Problems& problems, std::string& out) {
  auto text = value.string();
  if (!text || text->size() > kPauseNoteBytesMax) {
    return problems.add(where, "{}; allowed: a text of up to {} bytes", shown(value), kPauseNoteBytesMax);
  }
  out = *std::move(text);
}

void read_boolean(json::Value value, std::string_view where, Problems& problems, bool& out) {
  const auto boolean = value.boolean();
  if (!boolean) return problems.add(where, "{}; allowed: true, false", shown(value));
  out = *boolean;
}

void read_name(json::Value value, std::string_view where, Problems& problems, std::string& out) {
  auto text = value.string();
  if (!text || !is_job_name(*text)) return problems.add(where, "{}; allowed: {}", shown(value), kJobNameAllowed);
  out = *std::move(text);
}

void read_duration(json::Value value, std::string_view where, milliseconds min, milliseconds max, Problems& problems,
                   milliseconds& out) {
  const auto text = value.string();
  const auto duration = text ? parse_duration(*text) : std::nullopt;
  if (!duration || *duration < min || *duration > max) {
    return problems.add(where, "{}; allowed: a text from '{}' to '{}', such as '30s', '5m' or '1h30m'", shown(value),
                        format_duration(min), format_duration(max));
  }
  out = *duration;
}

void read_policy(json::Value value, std::string_view where, Problems& problems, OverlapPolicy& out) {
  const auto text = value.string();
  const auto policy = text ? parse_overlap_policy(*text) : std::nullopt;
  if (!policy) {
    std::string allowed;
    for (const auto known : kPolicies) allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", name(known));
    return problems.add(where, "{}; allowed: {}", shown(value), allowed);
  }
  out = *policy;
}

// The expressions of one schedule, one by one, so that each is told by its own place.
class Expressions {
 public:
  explicit Expressions(Problems& problems) : problems_(problems) {}

  void add(std::string_view text, std::string_view where) {
    if (!words_.insert(words_of(text)).second) {
      return problems_.add(where, "'{}' stands there twice; allowed: each expression once", one_line(text));
    }
    if (auto expression = CronExpression::parse(text)) {
      parsed_.push_back(*std::move(expression));
    } else {
      problems_.add(where, "{}", expression.error().message);
    }
  }
  [[nodiscard]] std::vector<CronExpression> take() && { return std::move(parsed_); }

 private:
  // More white space between the fields makes no other expression.
  static std::string words_of(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c != ' ' && c != '\t') {
        out += c;
      } else if (!out.empty() && out.back() != ' ') {
        out += ' ';
      }
    }
    if (out.ends_with(' ')) out.pop_back();
    return out;
  }

  Problems& problems_;
  std::set<std::string> words_;
  std::vector<CronExpression> parsed_;
};

bool check_expression_count(std::size_t count, std::string_view where, Problems& problems) {
  if (count >= 1 && count <= kExpressionsMax) return true;
  problems.add(where, "{} expressions; allowed: 1 to {}", count, kExpressionsMax);
  return false;
}

void read_expressions(json::Value value, std::string_view where, Problems& problems, std::vector<std::string>& out) {
  Expressions expressions(problems);
  const auto read = [&](json::Value element, std::string_view place) {
    auto text = element.string();
    if (!text) return problems.add(place, "{}; allowed: an expression as text, such as '0 1 * * 0'", shown(element));
    expressions.add(*text, place);
    out.push_back(*std::move(text));
  };
  if (!value.is_array()) return read(value, where);
  if (!check_expression_count(value.size(), where, problems)) return;
  for (std::size_t at = 0; const json::Value element : value.elements()) {
    read(element, fmt::format("{}[{}]", where, at++));
  }
}

// What cannot hold together, though each member is right by itself.
void check_contradictions(const Schedule& schedule, std::string_view where, Problems& problems) {
  if (!schedule.pause_note.empty() && !schedule.paused) {
    problems.add(where, "pauseNote: '{}'; allowed: only together with `paused` true", one_line(schedule.pause_note));
  }
  if (schedule.jitter > schedule.catch_up_window) {
    problems.add(where, "jitter: '{}'; allowed: up to the catchUpWindow, '{}'", format_duration(schedule.jitter),
                 format_duration(schedule.catch_up_window));
  }
}

Schedule read_schedule(json::Value value, std::string_view where, const JobCatalog& catalog, Problems& problems) {
  Schedule out;
  const auto read_job = [&](json::Value job, std::string_view place) {
    auto text = job.string();
    if (!text || !catalog.find(*text)) {
      return problems.add(place, "{}; allowed: {}", shown(job),
                          catalog.all().empty() ? "none, as no job is configured" : catalog.names());
    }
    out.job = *std::move(text);
  };
  const auto read_zone = [&](json::Value zone, std::string_view place) {
    auto text = zone.string();
    if (!text) return problems.add(place, "{}; allowed: the name of a time zone, such as 'Europe/Berlin'", shown(zone));
    if (const auto found = Zone::find(*text); !found) return problems.add(place, "{}", found.error().message);
    out.time_zone = *std::move(text);
  };
  const auto read_metadata = [&](json::Value metadata, std::string_view place) {
    if (const auto checked = check_metadata_shape(metadata); !checked) {
      return problems.add(place, "{}", checked.error().message);
    }
    out.metadata = metadata.raw();
  };
  const auto duration = [&](milliseconds max, milliseconds& to) {
    return [&problems, &to, max](json::Value text, std::string_view place) {
      read_duration(text, place, milliseconds(0), max, problems, to);
    };
  };
  const auto boolean = [&](bool& to) {
    return [&](json::Value flag, std::string_view place) { read_boolean(flag, place, problems, to); };
  };
  read_object(value, where, problems,
              {{"name", true, [&](auto text, auto place) { read_name(text, place, problems, out.name); }},
               {"job", true, read_job},
               {"cron", true, [&](auto cron, auto place) { read_expressions(cron, place, problems, out.cron); }},
               {"timeZone", false, read_zone},
               {"overlap", false, [&](auto text, auto place) { read_policy(text, place, problems, out.overlap); }},
               {"catchUpWindow", false, duration(kCatchUpWindowMax, out.catch_up_window)},
               {"jitter", false, duration(kJitterMax, out.jitter)},
               {"paused", false, boolean(out.paused)},
               {"pauseNote", false, [&](auto text, auto place) { read_note(text, place, problems, out.pause_note); }},
               {"pauseOnFailure", false, boolean(out.pause_on_failure)},
               {"metadata", false, read_metadata}});
  check_contradictions(out, where, problems);
  return out;
}

void read_job_name(json::Value value, std::string_view where, Problems& problems, std::string& out) {
  std::string text;
  read_name(value, where, problems, text);
  if (std::ranges::find(kReserved, text) != kReserved.end()) {
    return problems.add(where, "'{}'; allowed: another name, as this one stands for something else in the API", text);
  }
  out = std::move(text);
}

// How the job is named if that can be read, so that what is not said can be taken from the builtin one.
std::string job_name_of(json::Value entry) {
  const auto job = entry.find("job");
  return (job ? job->string() : std::nullopt).value_or("");
}

JobSpec read_job(json::Value value, std::string_view where, const JobCatalog& builtin, Problems& problems) {
  const JobSpec* const own = builtin.find(job_name_of(value));
  JobKind kind = own ? JobKind::builtin : JobKind::external;
  if (const auto said = value.find("kind")) {
    if (said->equals(name(JobKind::builtin)) && !own) {
      problems.add(where, "kind: 'builtin', but there is no builtin job '{}'; allowed: external, or one of the jobs {}",
                   one_line(job_name_of(value)), builtin.names());
    } else if (said->equals(name(JobKind::external))) {
      kind = JobKind::external;
    } else if (!said->equals(name(JobKind::builtin))) {
      problems.add(where, "kind: {}; allowed: builtin, external", shown(*said));
    }
  }
  JobSpec out = own && kind == JobKind::builtin ? *own : JobSpec{};
  out.kind = kind;
  const auto duration = [&](milliseconds min, milliseconds& to) {
    return [&problems, &to, min](json::Value text, std::string_view place) {
      read_duration(text, place, min, kJobTimeMax, problems, to);
    };
  };
  const auto read_attempts = [&](json::Value number, std::string_view place) {
    const auto attempts = number.integer();
    if (!attempts || *attempts < 1 || *attempts > kAttemptsMax) {
      return problems.add(place, "{}; allowed: a whole number from 1 to {}", shown(number), kAttemptsMax);
    }
    out.attempts_max = static_cast<int>(*attempts);
  };
  read_object(value, where, problems,
              {{"job", true, [&](auto text, auto place) { read_job_name(text, place, problems, out.name); }},
               {"kind", false, [](auto, auto) {}},
               {"startTimeout", false, duration(seconds(1), out.start_timeout)},
               {"timeout", false, duration(seconds(1), out.timeout)},
               {"attemptsMax", false, read_attempts},
               {"retryFirst", false, duration(milliseconds(1), out.retry_first)},
               {"retryMax", false, duration(milliseconds(1), out.retry_max)}});
  if (kind == JobKind::external) {
    for (const std::string_view limit : {"timeout", "attemptsMax", "retryFirst", "retryMax"}) {
      if (const auto said = value.find(limit)) {
        problems.add(where, "{}: {}; allowed: only of a builtin job; an external one ends within its startTimeout",
                     limit, shown(*said));
      }
    }
  }
  if (out.retry_max < out.retry_first) {
    problems.add(where, "retryMax: '{}'; allowed: no shorter than retryFirst, '{}'", format_duration(out.retry_max),
                 format_duration(out.retry_first));
  }
  return out;
}

// Entries of one kind, from all files: by name, the later file's in the place of the earlier one's.
template <class T>
class Entries {
 public:
  void begin_file() { places_.clear(); }
  void add(T entry, std::string_view where, Problems& problems) {
    if (entry.name.empty()) return;  // it was told that there is no name
    const auto [first, is_new] = places_.emplace(entry.name, where);
    if (!is_new) {
      return problems.add(where, "'{}' stands there already: {}; allowed: one of each name in a file", entry.name,
                          first->second);
    }
    std::string key = entry.name;
    entries_.insert_or_assign(std::move(key), std::move(entry));
  }
  [[nodiscard]] std::vector<T> take() && {
    std::vector<T> out;
    for (auto& [key, entry] : entries_) out.push_back(std::move(entry));
    return out;
  }

 private:
  std::map<std::string, std::string> places_;  // in this file
  std::map<std::string, T> entries_;
};

// Calls `read` for each element of a list; what is empty in YAML is null.
template <class Read>
void for_each_entry(const json::Document& file, std::string_view file_name, std::string_view member, Problems& problems,
                    const Read& read) {
  const auto list = file.root().find(member);
  if (!list || list->kind() == json::Kind::null) return;
  const std::string place = fmt::format("{}: {}", file_name, member);
  if (!list->is_array()) return problems.add(place, "{}; allowed: a list", shown(*list));
  for (std::size_t at = 0; const json::Value element : list->elements()) {
    read(element, fmt::format("{}[{}]", place, at++));
  }
}

}  // namespace

std::string_view name(OverlapPolicy policy) {
  switch (policy) {
    case OverlapPolicy::skip:
      return "skip";
    case OverlapPolicy::buffer_one:
      return "buffer_one";
    case OverlapPolicy::buffer_all:
      return "buffer_all";
    case OverlapPolicy::cancel_other:
      return "cancel_other";
    case OverlapPolicy::allow_all:
      return "allow_all";
  }
  INVARIANT(false);
}

std::optional<OverlapPolicy> parse_overlap_policy(std::string_view text) {
  const auto found = std::ranges::find_if(kPolicies, [&](OverlapPolicy policy) { return name(policy) == text; });
  return found == kPolicies.end() ? std::nullopt : std::optional(*found);
}

Result<void> check_metadata_shape(json::Value metadata) {
  const bool fits = metadata.is_object() && metadata.raw().size() <= kMetadataBytesMax;
  const bool is_deep = fits && is_deeper(metadata, kMetadataDepthMax);
  if (fits && !is_deep) return {};
  const std::size_t bytes = metadata.raw().size();
  std::string what = shown(metadata);
  if (is_deep) what += fmt::format(", which is nested more than {} levels deep", kMetadataDepthMax);
  if (bytes > kMetadataBytesMax) what += fmt::format(", which has {} bytes", bytes);
  return fail(ErrorCode::invalid_argument, "{}; allowed: an object of up to {} bytes, nested up to {} levels deep",
              what, kMetadataBytesMax, kMetadataDepthMax);
}

Result<Schedule> parse_schedule(json::Value value, std::string_view where, const JobCatalog& catalog) {
  Problems problems;
  Schedule out = read_schedule(value, where, catalog, problems);
  if (!problems.none()) return std::move(problems).take();
  return out;
}

std::string encode(const Schedule& schedule) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  writer.key("name").string(schedule.name);
  writer.key("job").string(schedule.job);
  writer.key("cron").begin_array();
  for (const std::string& expression : schedule.cron) writer.string(expression);
  writer.end_array();
  writer.key("timeZone").string(schedule.time_zone);
  writer.key("overlap").string(name(schedule.overlap));
  writer.key("catchUpWindow").string(format_duration(schedule.catch_up_window));
  writer.key("jitter").string(format_duration(schedule.jitter));
  writer.key("paused").boolean(schedule.paused);
  writer.key("pauseNote").string(schedule.pause_note);
  writer.key("pauseOnFailure").boolean(schedule.pause_on_failure);
  writer.key("metadata").raw(schedule.metadata);
  writer.end_object();
  return out;
}

Result<JobConfiguration> parse_job_files(std::span<const JobFile> files, const JobCatalog& builtin) {
  Problems problems;
  std::vector<std::pair<std::string_view, json::Document>> documents;
  for (const JobFile& file : files) {
    if (auto document = json::Document::parse(file.json)) {
      documents.emplace_back(file.name, *std::move(document));
    } else {
      problems.add(file.name, "{}", document.error().message);
    }
  }
  Entries<JobSpec> jobs;
  for (const auto& [file, document] : documents) {
    if (document.root().kind() != json::Kind::null) {
      const Field ignored{"", false, [](auto, auto) {}};
      read_object(document.root(), file, problems, {{"jobs", false, ignored.read}, {"schedules", false, ignored.read}});
    }
    jobs.begin_file();
    for_each_entry(document, file, "jobs", problems, [&](json::Value entry, const std::string& place) {
      jobs.add(read_job(entry, place, builtin, problems), place, problems);
    });
  }
  // All jobs first: a schedule may be of a job that a later file brings.
  std::vector<JobSpec> all(builtin.all().begin(), builtin.all().end());
  for (JobSpec& job : std::move(jobs).take()) all.push_back(std::move(job));
  JobConfiguration out{.catalog = JobCatalog(std::move(all)), .schedules = {}};

  Entries<Schedule> schedules;
  for (const auto& [file, document] : documents) {
    schedules.begin_file();
    for_each_entry(document, file, "schedules", problems, [&](json::Value entry, const std::string& place) {
      schedules.add(read_schedule(entry, place, out.catalog, problems), place, problems);
    });
  }
  if (!problems.none()) return std::move(problems).take();
  out.schedules = std::move(schedules).take();
  return out;
}

Timetable::Timetable(std::vector<CronExpression> expressions, Zone zone, std::string schedule, milliseconds jitter)
    : expressions_(std::move(expressions)), zone_(zone), schedule_(std::move(schedule)), jitter_(jitter) {}

Result<Timetable> Timetable::make(const Schedule& schedule) {
  Problems problems;
  Expressions expressions(problems);
  if (check_expression_count(schedule.cron.size(), "cron", problems)) {
    for (std::size_t at = 0; const std::string& text : schedule.cron) {
      expressions.add(text, fmt::format("cron[{}]", at++));
    }
  }
  const auto zone = Zone::find(schedule.time_zone);
  if (!zone) problems.add("timeZone", "{}", zone.error().message);
  if (!problems.none()) return std::move(problems).take();
  return Timetable(std::move(expressions).take(), *zone, schedule.name, schedule.jitter);
}

std::optional<Fire> Timetable::next(Timestamp after) const {
  std::optional<Fire> first;
  for (const CronExpression& expression : expressions_) {
    const auto fire = expression.next(zone_, after);
    if (fire && (!first || std::tie(fire->at, fire->rule) < std::tie(first->at, first->rule))) first = fire;
  }
  return first;
}

Timestamp Timetable::due_at(Timestamp fire) const {
  if (jitter_ <= milliseconds(0)) return fire;
  const auto seed = short_digest(fmt::format("{}\n{}", schedule_, fire.time_since_epoch().count()));
  return fire + milliseconds(seed % static_cast<std::uint64_t>(jitter_.count()));
}

}  // namespace wfo::schedule
