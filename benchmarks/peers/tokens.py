"""The tokens that `fathom bench` draws, so that other engines compute the same ones.

It draws with std::mt19937 and libstdc++'s std::uniform_int_distribution, seeded alike in every run. When asked
for one prompt and one decode cell it draws, in this order: a warm-up, the prompt, what decoding begins
behind, the steps.
"""
import random

SEED = 20240229
WARM_UP_TOKENS = 512
SEED_TOKENS = 64  # what decoding at context 0 begins behind


class Mt19937:
    """std::mt19937: Python has the same generator, but seeds it in another way."""

    def __init__(self, seed):
        state = [seed & 0xFFFFFFFF]
        for idx in range(1, 624):
            state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + idx) & 0xFFFFFFFF)
        self.random = random.Random()
        self.random.setstate((3, (*state, 624), None))

    def next(self):
        return self.random.getrandbits(32)

    def below(self, count):
        """std::uniform_int_distribution(0, count - 1) of libstdc++, by Lemire's method."""
        product = count * self.next()
        low = product & 0xFFFFFFFF
        if low < count:
            threshold = (2**32 - count) % count
            while low < threshold:
                product = count * self.next()
                low = product & 0xFFFFFFFF
        return product >> 32


def draw(figure, vocab_size, max_context):
    """(tokens before, measured tokens) of a figure."""
    generator = Mt19937(SEED)

    def several(count):
        return [generator.below(vocab_size) for _ in range(count)]

    several(min(WARM_UP_TOKENS, max_context))
    if figure.phase == "prefill":
        return [], several(figure.tokens)
    several(1)
    return several(figure.tokens_before), several(figure.tokens)
