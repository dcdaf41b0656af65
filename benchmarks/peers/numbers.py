"""Intervals of a few repeated measurements."""
import math
import statistics


def student_quantile(probability, num_degrees):
    """The t that a Student variable of so many degrees of freedom stays below; probability above a half."""
    scale = math.exp(math.lgamma((num_degrees + 1) / 2) - math.lgamma(num_degrees / 2))
    scale /= math.sqrt(num_degrees * math.pi)

    def below(t, num_steps=2000):  # Simpson's rule from 0, where half is below
        step = t / num_steps
        heights = [(1 + (i * step) ** 2 / num_degrees) ** (-(num_degrees + 1) / 2) for i in range(num_steps + 1)]
        return 0.5 + scale * step / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))

    high = 1.0
    while below(high) < probability:
        high *= 2
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return high


def interval(values, probability=0.95):
    """(geometric mean, low, high) of positive numbers, by Student's t over their logarithms.

    Speeds and ratios differ by factors, so their logarithms are what is symmetric. One number alone has no
    interval: low and high are None.
    """
    for value in values:
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"found {value}, expected a positive number")
    logs = [math.log(value) for value in values]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), None, None
    t = student_quantile((1 + probability) / 2, len(logs) - 1)
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def median_or_none(values):
    """The median; None where a value is missing."""
    return None if not values or None in values else statistics.median(values)
