#include "app/interpolation.h"

namespace wfo::app {

Result<std::string> interpolate(std::string_view text, const std::map<std::string, std::string>& environment,
                                std::vector<std::string>* used) {
  std::string out;
  for (;;) {
    const auto begin = text.find("${");
    out += text.substr(0, begin);
    if (begin == std::string_view::npos) return out;
    const bool escaped = begin > 0 && text[begin - 1] == '$';
    text = text.substr(begin + 2);
    if (escaped) {
      out += '{';
      continue;
    }
    const auto end = text.find('}');
    if (end == std::string_view::npos) return fail(ErrorCode::invalid_argument, "'${{' without its '}}'");
    const auto inner = text.substr(0, end);
    const auto dash = inner.find(":-");
    const std::string name(inner.substr(0, dash));
    const auto known = environment.find(name);
    if (known != environment.end() && !known->second.empty()) {
      out += known->second;
      if (used) used->push_back(name);
    } else if (dash != std::string_view::npos) {
      out += inner.substr(dash + 2);
    } else {
      return fail(ErrorCode::invalid_argument, "the environment has no {}; set it, or write ${{{}:-default}}", name,
                  name);
    }
    text = text.substr(end + 1);
  }
}

std::string without_interpolation(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("${")) out += '$';
    out += text[i];
  }
  return out;
}

}  // namespace wfo::app
