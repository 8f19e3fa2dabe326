#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace wfo::app {

/// A YAML document as JSON.
struct JsonOfYaml {
  std::string json;
  /// Which values came from the environment, by their place as errors of readers name it (`schedules[0]: cron[1]`): the
  /// variables, with commas between.
  std::map<std::string, std::string> variables;
};

/// A YAML document (of which JSON is one) as JSON, in the order of the file. In plain scalars and quoted ones ${NAME}
/// and ${NAME:-default} are filled in from `environment` first; then a plain one that YAML's core schema takes for
/// null, a boolean or a number is one, and all else is text. Errors: `invalid_argument` `file:line: message`: no UTF-8,
/// no YAML, two documents, a key that is no text or stands twice, more than 64 levels, more than 64 MiB (aliases count
/// each time).
[[nodiscard]] Result<JsonOfYaml> yaml_to_json(std::string_view yaml, std::string_view file,
                                              const std::map<std::string, std::string>& environment);

/// Names the variables in an error that was made of the document, whose lines say `file: place: what`: who set one may
/// not know the file.
[[nodiscard]] Error with_variables(Error error, std::string_view file,
                                   const std::map<std::string, std::string>& variables);

}  // namespace wfo::app
