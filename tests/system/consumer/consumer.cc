// Continues the tokens 1, 2, 3 greedily and prints what the model chose, one token a line.
#include <iostream>

#include <fathom/fathom.h>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: consumer MODEL\n";
    return 2;
  }
  try {
    const auto model = fathom::Model::open(argv[1]);
    fathom::Session session = model->start();
    const std::vector<fathom::TokenId> prompt = {1, 2, 3};
    const fathom::Generated generated = session.generate(session.append(prompt), {.max_tokens = 5});
    for (const fathom::TokenId token : generated.tokens) {
      std::cout << token << "\n";
    }
  } catch (const fathom::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
