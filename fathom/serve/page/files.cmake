# The files of the web page (fathom/serve/page): ours by glob, and from Debian packages a parser of
# Markdown (libjs-marked) and one of programming languages (node-prismjs; a language stands behind
# those it builds on).
set(languages core markup css clike javascript c cpp python bash json rust go java typescript jsx tsx yaml toml sql
  diff markdown ini cmake makefile docker csharp kotlin swift ruby markup-templating php lua r haskell latex julia
  perl scala)
set(marked /usr/share/javascript/marked/marked.umd.min.js)
set(prism)
foreach(language IN LISTS languages)
  list(APPEND prism /usr/share/nodejs/prismjs/components/prism-${language}.min.js)
endforeach()
foreach(file IN LISTS marked prism)
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "${file}: no such file; install the Debian packages libjs-marked and node-prismjs")
  endif()
endforeach()

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/serve/page/web/*)
set(files)
foreach(source IN LISTS sources)
  cmake_path(GET source FILENAME name)
  list(APPEND files ${name}=${source})
endforeach()
string(REPLACE ";" "+" prism "${prism}")
fathom_embed_files(serve/page page_files ${files} marked.js=${marked} prism.js=${prism})
