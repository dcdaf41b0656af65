"""The table for people."""
from peers.protocol import Figure

INTERVAL_NOTE = ("(low..high): 95 % interval, Student's t over logarithms; of tokens/s over the runs of an engine, of "
                 "ratios over pairs of runs that followed each other. Tokens/s and shares are medians, ratios are "
                 "geometric means.")


def digits(value):
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def with_interval(value, low, high):
    return digits(value) + ("" if low is None else f" ({digits(low)}..{digits(high)})")


def gigabytes(count):
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"


def rows_of(figure):
    title = str(Figure(figure["phase"], figure["tokens"], figure["context"]))
    ratios = {ratio["peer"]: ratio for ratio in figure["ratios"]}
    for idx, engine in enumerate(figure["engines"]):
        ratio = ratios.get(engine["name"])
        share = "-" if engine["share"] is None else f"{100 * engine['share']:.0f} % of {figure['limit']}"
        yield (f"{title}, {len(figure['pairs'])} pairs" if idx == 0 else "", engine["name"],
               with_interval(engine["tokens_per_s"], engine["low"], engine["high"]), share,
               with_interval(ratio["ratio"], ratio["low"], ratio["high"]) if ratio else "")


def figures_and_engines(record):
    """The lines that every comparison has: a row per figure and engine, then what each engine is."""
    header = ("figure", "engine", "tokens/s", "share of the limit", "fathom / it")
    rows = [header] + [row for figure in record["figures"] for row in rows_of(figure)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    for engine in record["engines"]:
        facts = [engine["version"]]
        if engine["commit"]:
            facts.append(f"commit {engine['commit']}")
        if engine["load_s"] is not None:
            facts.append(f"{engine['load_s']:.2f} s to the first token")
        if engine["peak_rss_bytes"]:
            facts.append(f"{gigabytes(engine['peak_rss_bytes'])} of memory at most")
        lines.append(f"{engine['name']}: " + ", ".join(facts + ([engine["note"]] if engine["note"] else [])))
    return lines


def table(record):
    model, machine, settings = record["model"], record["machine"], record["settings"]
    lines = [f"{machine['name']}, {record['started']}",
             f"{model['label']}: {gigabytes(model['file_bytes'])}, {gigabytes(model['bytes_per_token'])} read and "
             f"{model['macs_per_token'] / 1e9:.3f} GMAC per token, weights {model['weights']}; {settings['threads']} "
             f"threads, numerics {settings['numerics']}, peers' cache {settings['cache_type']}"]
    return "\n".join(lines + figures_and_engines(record) + [INTERVAL_NOTE])
