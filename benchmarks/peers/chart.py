"""Bar charts of records as SVG: bars are shares of the machine's limit, so that all models fit on one axis.

Plain shapes and text on a background of their own: no scripts, fonts or files from outside. Colours follow the
reader's light or dark scheme.
"""
import xml.sax.saxutils

from peers.report import with_interval

LIMIT_NAMES = {"read": "read bandwidth", "int8": "int8 peak", "bf16": "bf16 peak", "fp32": "fp32 peak"}
PHASE_TITLES = {"decode": "Decoding", "prefill": "Prefill"}
# name of a class: (colour in the light scheme, in the dark one)
COLOURS = {
    "back": ("#ffffff", "#0d1117"),
    "text": ("#1f2328", "#f0f6fc"),
    "faint": ("#59636e", "#9198a1"),
    "grid": ("#d1d9e0", "#3d444d"),
    "engine0": ("#0969da", "#4493f8"),
    "engine1": ("#bc4c00", "#db6d28"),
    "engine2": ("#8250df", "#ab7df8"),
    "engine3": ("#1a7f37", "#3fb950"),
}
WIDTH, MARGIN, BAR_LEFT, BAR_RIGHT, VALUE_LEFT = 900, 20, 150, 530, 560
HEAD, GROUP_TITLE, ROW, GROUP_GAP, FOOT, BAR = 76, 26, 24, 12, 70, 14


def escape(text):
    return xml.sax.saxutils.escape(text, {'"': "&quot;"})


def style():
    def rules(scheme):
        return " ".join(f".{name}{{fill:{pair[scheme]};stroke:{pair[scheme]}}}" for name, pair in COLOURS.items())

    return (f"<style>text{{font-family:sans-serif;font-size:13px;stroke:none!important}} {rules(0)} "
            f"@media (prefers-color-scheme:dark){{{rules(1)}}}</style>")


def text(x, y, content, kind="text", anchor="start", extra=""):
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'


def line(x1, y1, x2, y2, kind, width=1):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke-width="{width}"/>'


def place(share):
    """x of a share; what exceeds the limit by more than a little ends at the edge."""
    return BAR_LEFT + min(share, 1.05) * (BAR_RIGHT - BAR_LEFT)


def figure_title(label, figure):
    if figure["phase"] == "prefill":
        return f"{label}: prompt of {figure['tokens']:,} tokens"
    return f"{label}: {figure['tokens']:,} tokens behind {figure['context'] or 64:,}"


def value_text(engine):
    share = "" if engine["share"] is None else f", {100 * engine['share']:.0f} %"
    return with_interval(engine["tokens_per_s"], engine["low"], engine["high"]) + " tokens/s" + share


def draw_engine(engine, kind, y):
    middle = y + ROW / 2
    yield text(BAR_LEFT - 8, middle + 4, engine["name"], anchor="end")
    yield text(VALUE_LEFT, middle + 4, value_text(engine))
    if engine["share"] is None:
        return
    yield (f'<rect class="{kind}" x="{BAR_LEFT}" y="{middle - BAR / 2:g}" '
           f'width="{place(engine["share"]) - BAR_LEFT:.1f}" height="{BAR}"/>')
    if engine["share_low"] is not None:
        low, high = place(engine["share_low"]), place(engine["share_high"])
        yield line(low, middle, high, middle, "text", 2)
        for end in (low, high):
            yield line(end, middle - 4, end, middle + 4, "text", 2)


def draw_grid(top, bottom):
    for percent in (0, 25, 50, 75, 100):
        x = place(percent / 100)
        yield line(x, top, x, bottom, "faint" if percent == 100 else "grid", 2 if percent == 100 else 1)


def draw(phase, rows, caption):
    """One picture. rows: (label of the model, figure of a record), all of one phase."""
    order = []
    for _, figure in rows:
        order += [engine["name"] for engine in figure["engines"] if engine["name"] not in order]
    height = HEAD + FOOT + sum(GROUP_TITLE + GROUP_GAP + ROW * len(figure["engines"]) for _, figure in rows)
    title = f"{PHASE_TITLES[phase]}: share of the machine's limit, and tokens per second"
    shapes = [text(place(percent / 100), HEAD - 8, f"{percent} %", "faint", "middle") for percent in (0, 50, 100)]
    y = HEAD
    for label, figure in rows:
        shapes.append(text(MARGIN, y + 18, figure_title(label, figure), extra=' font-weight="bold"'))
        shapes.append(text(VALUE_LEFT, y + 18, f"limit: {LIMIT_NAMES[figure['limit']]}", "faint"))
        y += GROUP_TITLE
        shapes += draw_grid(y, y + ROW * len(figure["engines"]))
        for engine in figure["engines"]:
            shapes += draw_engine(engine, f"engine{order.index(engine['name']) % 4}", y)
            y += ROW
        y += GROUP_GAP
    foot = (text(MARGIN, y + 22, caption, "faint"),
            text(MARGIN, y + 42, "Bars: medians. Whiskers and brackets: 95 % intervals (Student's t over logarithms). "
                 "Weights as the file has them count as read.", "faint"))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">', style(), f"<title>{escape(title)}</title>",
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>',
        text(MARGIN, 32, title, extra=' font-weight="bold" style="font-size:16px"'),
        *shapes, *foot, "</svg>"]) + "\n"


def describe(phase, rows):
    """What a picture shows, for those who do not see it."""
    parts = [figure_title(label, figure) + ", " + "; ".join(f"{engine['name']} {value_text(engine)}"
                                                            for engine in figure["engines"])
             for label, figure in rows]
    return f"Bar chart, {PHASE_TITLES[phase].lower()} as a share of the machine's limit. " + ". ".join(parts) + "."
