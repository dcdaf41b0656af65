// Writes what the program answers for each file of its web page into a folder, for the server that
// stands in for it in tests/clients: NUMBER.http holds path, headers, an empty line and the body.
#include <cstdio>
#include <fstream>
#include <string>

#include "fathom/serve/page/page.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: dump_page FOLDER\n");
    return 2;
  }
  int number = 0;
  for (const fathom::page::File& file : fathom::page::files()) {
    const std::string name = std::string(argv[1]) + "/" + std::to_string(number++) + ".http";
    std::ofstream out(name, std::ios::binary);
    const fathom::http::Response response = fathom::page::answer(file, {});
    out << file.path << "\nContent-Type: " << response.content_type << '\n';
    for (const fathom::http::Header& header : response.headers) {
      out << header.name << ": " << header.value << '\n';
    }
    out << '\n' << response.body;
    out.close();
    if (!out) {
      std::fprintf(stderr, "dump_page: %s: cannot be written\n", name.c_str());
      return 1;
    }
  }
  return 0;
}
