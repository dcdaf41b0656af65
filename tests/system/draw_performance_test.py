#!/usr/bin/env python3
"""benchmarks/draw_performance: the committed pictures, and pictures of records made up here.

usage: draw_performance_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "benchmarks/draw_performance"
sys.path.insert(0, str(ROOT / "benchmarks"))

from peers import chart  # noqa: E402  after the path

from invocation import program_under_test  # noqa: E402

PAGE = """# Page
<!-- Written by benchmarks/draw_performance --write, up to the end mark. -->
<!-- End of what draw_performance writes. -->
The rest.
"""
SVG = "{http://www.w3.org/2000/svg}"


def engine(name, speed, share):
    return {"name": name, "tokens_per_s": speed, "low": 0.9 * speed, "high": 1.1 * speed, "share": share,
            "share_low": share and 0.9 * share, "share_high": share and 1.1 * share}


def make_record(label="small", started="2026-01-02T03:04:05+00:00", speed=200.0, others=0.1, **changes):
    engines = [engine("fathom", speed, 0.5), engine("other <engine>", 100.0, 0.25)]
    figure = {"context": 0, "engines": engines, "pairs": [{"fathom": {"others": 0.02}}, {"fathom": {"others": others}}],
              "ratios": [{"peer": "other <engine>", "ratio": 2.0, "low": 1.9, "high": 2.1}]}
    facts = {"version": "1", "commit": None, "load_s": None, "peak_rss_bytes": None, "note": None, "backend": None}
    return {"schema": 1, "id": started, "started": started, "ended": started, "complete": True,
            "machine": {"name": "2 processors of X & Y"}, "settings": {"threads": 2, "numerics": "fast"},
            "model": {"label": label, "file": "m.gguf", "file_bytes": 10**9, "weights": "random"},
            "engines": [{"name": item["name"], **facts} for item in engines],
            "figures": [{"phase": "prefill", "tokens": 512, "limit": "int8", **figure},
                        {"phase": "decode", "tokens": 128, "limit": "read", **figure}], **changes}


def luminance(colour):
    parts = [int(colour[idx:idx + 2], 16) / 255 for idx in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class DrawPerformanceTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="fathom-draw-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.results = self.root / "benchmarks/results/here"
        self.results.mkdir(parents=True)
        self.pictures = self.root / "docs/performance"
        self.page = self.root / "docs/performance.md"
        self.page.parent.mkdir()
        self.page.write_text(PAGE)

    def draw(self, *arguments, root=None, code=0):
        result = subprocess.run([PROGRAM, "--root", root or self.root, *arguments], capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout + result.stderr

    def write(self, *records):
        (self.results / "records.json").write_text(json.dumps(records))

    def picture(self, phase):
        return (self.pictures / f"here-{phase}.svg").read_text()

    def bar_widths(self, phase):
        shapes = xml.etree.ElementTree.fromstring(self.picture(phase))
        return [float(shape.get("width")) for shape in shapes.iter(f"{SVG}rect")
                if shape.get("class").startswith("engine")]

    def test_committed_page_and_pictures_are_what_the_records_give(self):
        self.assertIn("are what the records give", self.draw(root=ROOT))

    def test_bars_are_shares_and_text_says_the_rest(self):
        self.write(make_record())
        self.draw("--write")
        self.assertIn("2 pictures are what the records give", self.draw())
        for phase in ("prefill", "decode"):
            half, quarter = self.bar_widths(phase)
            self.assertAlmostEqual(half, 2 * quarter, places=1)
            self.assertAlmostEqual(half, (chart.BAR_RIGHT - chart.BAR_LEFT) / 2, places=1)
            for part in ("200 (180..220) tokens/s, 50 %", "other &lt;engine&gt;", "2 processors of X &amp; Y",
                         "2026-01-02"):
                self.assertIn(part, self.picture(phase))
        page = self.page.read_text()
        self.assertTrue(page.startswith("# Page\n") and page.endswith("\nThe rest.\n"))
        self.assertRegex(page, r"!\[Bar chart, decoding .* fathom 200 .*\]\(performance/here-decode\.svg\)")
        self.assertIn("| 2 (1.9..2.1) |", page)

    def test_picture_needs_nothing_from_outside_and_is_readable_in_both_schemes(self):
        self.write(make_record())
        self.draw("--write")
        names = {shape.tag.removeprefix(SVG)
                 for shape in xml.etree.ElementTree.fromstring(self.picture("decode")).iter()}
        self.assertLessEqual(names, {"svg", "style", "title", "rect", "text", "line"})
        self.assertIsNone(re.search(r"href|url\(|@import|@font-face| on\w+=", self.picture("decode")))
        for scheme in (0, 1):
            back = chart.COLOURS["back"][scheme]
            for name, pair in chart.COLOURS.items():
                least = {"back": 1, "grid": 1}.get(name, 4.5 if name in ("text", "faint") else 3)
                self.assertGreaterEqual(contrast(back, pair[scheme]), least, (name, scheme))

    def test_latest_complete_record_of_a_model_counts(self):
        self.write(make_record(started="2026-03-01", speed=300.0), make_record(started="2026-02-01", speed=222.0),
                   make_record(started="2026-04-01", speed=444.0, complete=False), make_record("large", speed=9.0))
        self.draw("--write")
        self.assertIn("300 (270..330)", self.picture("decode"))
        self.assertEqual(len(self.bar_widths("decode")), 4)
        for speed in ("222", "444"):
            self.assertNotIn(speed, self.page.read_text())
        self.assertIn("2026-01-02 to 2026-03-01", self.picture("decode"))

    def test_caption_tells_of_a_machine_that_was_not_quiet(self):
        for others, is_told in ((0.1, False), (0.74, True)):
            self.write(make_record(others=others))
            self.draw("--write")
            for text in (self.picture("decode"), self.page.read_text()):
                self.assertEqual("not quiet: other processes used up to 0.7 processors" in text, is_told)

    def test_share_that_is_not_known_has_no_bar(self):
        record = make_record()
        record["figures"][0]["engines"] = [engine("fathom", 200.0, None)]
        self.write(record)
        self.draw("--write")
        self.assertEqual(self.bar_widths("prefill"), [])
        self.assertIn("200 (180..220) tokens/s<", self.picture("prefill"))

    def test_share_above_the_limit_ends_at_the_edge(self):
        record = make_record()
        record["figures"][0]["engines"] = [engine("fathom", 200.0, 7.0)]
        self.write(record)
        self.draw("--write")
        self.assertLess(self.bar_widths("prefill")[0], chart.VALUE_LEFT - chart.BAR_LEFT)

    def test_what_is_stale_is_named(self):
        self.write(make_record())
        self.assertIn("draw_performance --write", self.draw(code=1))
        self.draw("--write")
        for path in (self.pictures / "here-decode.svg", self.page):
            path.write_text(path.read_text().replace("200", "201"))
            self.assertIn(path.name, self.draw(code=1))
            self.draw("--write")
        (self.pictures / "gone-decode.svg").write_text("")
        self.assertIn("gone-decode.svg", self.draw(code=1))
        self.draw("--write")
        self.draw()

    def test_what_is_no_record_is_named(self):
        bad = make_record()
        bad["figures"][0]["engines"][0]["tokens_per_s"] = "fast"
        for text, part in (("[", "not JSON"), ("{}", "a JSON list"), ("[{}]", "record 0: expected schema 1"),
                           (json.dumps([make_record(settings={})]), "record 0.settings.threads: expected"),
                           (json.dumps([bad]), "record 0.figures[0].engines[0].tokens_per_s: expected a positive")):
            (self.results / "records.json").write_text(text)
            self.assertIn(part, self.draw(code=2))
        self.write()
        self.assertIn("no complete record", self.draw(code=2))
        self.write(make_record())
        self.page.write_text("no marks")
        self.assertIn("expected the lines", self.draw(code=2))


if __name__ == "__main__":
    program_under_test(__doc__)  # none is: benchmarks/draw_performance reads records alone
    unittest.main()
