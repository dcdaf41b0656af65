# cmake -DFILES=name=path[+path...]|... -DNAME=... -DSOURCE=... -P: the source of fathom_embed_files
# (cmake/FathomEmbed.cmake).
string(REPLACE "|" ";" files "${FILES}")
set(arrays)
set(rows)
set(index 0)
foreach(file IN LISTS files)
  string(REGEX MATCH "^([^=]+)=(.+)$" _ "${file}")
  set(name ${CMAKE_MATCH_1})
  string(REPLACE "+" ";" paths "${CMAKE_MATCH_2}")
  set(bytes)
  foreach(path IN LISTS paths)
    file(READ ${path} part HEX)
    # A line end between parts: the last line of one may be a comment.
    string(APPEND bytes "${part}0a")
  endforeach()
  string(REGEX REPLACE "0a$" "" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND arrays "constexpr char kFile${index}[] = {${bytes} '\\0'};\n")
  string(APPEND rows "    std::pair{\"${name}\"sv, std::string_view{kFile${index}, sizeof(kFile${index}) - 1}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${SOURCE} "// Files by name, as listed in fathom/CMakeLists.txt.
#include <span>
#include <string_view>
#include <utility>

namespace fathom::embedded {

std::span<const std::pair<std::string_view, std::string_view>> ${NAME}();

namespace {

using namespace std::string_view_literals;

${arrays}
constexpr std::pair<std::string_view, std::string_view> kFiles[] = {
${rows}};

}  // namespace

std::span<const std::pair<std::string_view, std::string_view>> ${NAME}() {
  return kFiles;
}

}  // namespace fathom::embedded
")
