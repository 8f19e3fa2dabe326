# Run by wfo_embed: writes ${DIR}/${NAME}.h and .cpp from the files in ${FILES} (separated by '|').
string(REPLACE "|" ";" files "${FILES}")
file(WRITE ${DIR}/${NAME}.h "#pragma once

#include <span>
#include <string_view>

namespace wfo::embedded {
#ifndef WFO_EMBEDDED_FILE
#define WFO_EMBEDDED_FILE
struct File {
  std::string_view name;  // without its folder
  std::string_view text;
};
#endif
std::span<const File> ${NAME}();
}  // namespace wfo::embedded
")
set(body "")
foreach(file IN LISTS files)
  file(READ ${file} text)
  get_filename_component(base ${file} NAME)
  string(APPEND body "    File{\"${base}\", R\"wfo_text(${text})wfo_text\"},\n")
endforeach()
if(body STREQUAL "")
  set(value "{}")  # C++ has no empty arrays
else()
  set(value "kFiles")
  set(body "namespace {
constexpr File kFiles[] = {
${body}};
}  // namespace
")
endif()
file(WRITE ${DIR}/${NAME}.cpp "#include \"embedded/${NAME}.h\"

namespace wfo::embedded {
${body}std::span<const File> ${NAME}() { return ${value}; }
}  // namespace wfo::embedded
")
