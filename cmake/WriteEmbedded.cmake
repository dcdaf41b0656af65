# cmake -DFILE=... -DNAME=... -DSOURCE=... -P: the source of fathom_embed (cmake/FathomEmbed.cmake).
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${SOURCE} "// The bytes of ${FILE}.
#include <string_view>

namespace fathom::embedded {

std::string_view ${NAME}();

std::string_view ${NAME}() {
  static constexpr char kBytes[] = {${bytes} '\\0'};
  return {kBytes, sizeof(kBytes) - 1};
}

}  // namespace fathom::embedded
")
