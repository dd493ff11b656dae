#!/usr/bin/env python3
"""Traces every number of a report to a cell of its folder's CSVs. Usage: report_trace.py OUT

Each table names the CSV that holds its rows and columns (data-csv): cell by cell the text is the same, or the number
rounds to what is shown. Each <data value> of a sentence is, with all its digits, a cell of some CSV of the folder, and
rounds to its text. Sentences and drawings may name no other numbers with decimals than those found in a CSV."""
import csv
import glob
import os
import re
import sys
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "rect", "circle", "line", "polygon", "path"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tables, self.data, self.svg_text = [], [], []
        self.table = self.cell = self.datum = None
        self.in_svg_text = False

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag == "table":
            self.table = {"csv": a.get("data-csv"), "rows": []} if "data-csv" in a else None
        elif tag == "tr" and self.table is not None:
            self.table["rows"].append([])
        elif tag in ("td", "th") and self.table is not None:
            self.cell = {"text": "", "number": "n" in a.get("class", "").split() and tag == "td", "head": tag == "th"}
        elif tag == "data":
            self.datum = {"value": a["value"], "text": ""}
        elif tag == "text":
            self.in_svg_text = True
            self.svg_text.append("")

    def handle_data(self, text):
        if self.cell is not None:
            self.cell["text"] += text
        if self.datum is not None:
            self.datum["text"] += text
        if self.in_svg_text:
            self.svg_text[-1] += text

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.table["rows"][-1].append(self.cell)
            self.cell = None
        elif tag == "table" and self.table is not None:
            self.tables.append(self.table)
            self.table = None
        elif tag == "data":
            self.data.append(self.datum)
            self.datum = None
        elif tag == "text":
            self.in_svg_text = False


def fail(text):
    sys.exit("report_trace: " + text)


def shows(shown, value):
    """Whether a shown decimal is the value rounded, or a bound above it."""
    if shown.startswith("<"):
        return 0 <= value < float(shown[1:])
    decimals = len(shown.split(".")[1]) if "." in shown else 0
    return abs(float(shown) - value) <= 0.5 * 10 ** -decimals * (1 + 1e-9)


def check_table(out, table):
    with open(os.path.join(out, table["csv"]), newline="", encoding="utf-8") as f:
        cells = list(csv.reader(f))
    rows = table["rows"]
    if len(cells) != len(rows):
        fail(f"{table['csv']}: {len(cells)} rows, the page shows {len(rows)}")
    numbers = 0
    for r, (row, line) in enumerate(zip(rows, cells)):
        if len(row) != len(line):
            fail(f"{table['csv']} row {r}: {len(line)} cells, the page shows {len(row)}")
        for shown, cell in zip(row, line):
            text = shown["text"]
            if shown["head"] and table["csv"].endswith("tripod_ai.csv"):
                continue
            if not cell:
                if text != "–":
                    fail(f"{table['csv']} row {r}: shows {text!r} for an empty cell")
            elif shown["number"]:
                if not shows(text, float(cell)):
                    fail(f"{table['csv']} row {r}: shows {text} for {cell}")
                numbers += 1
            elif text != cell:
                fail(f"{table['csv']} row {r}: shows {text!r} for {cell!r}")
    return numbers


def all_values(out):
    values = set()
    for path in glob.glob(os.path.join(out, "*.csv")) + glob.glob(os.path.join(out, "figures", "*.csv")):
        with open(path, newline="", encoding="utf-8") as f:
            for line in csv.reader(f):
                for cell in line:
                    try:
                        values.add(float(cell))
                    except ValueError:
                        pass
    return sorted(values)


def check_own(out):
    """S at a patient's own time lies on the patient's own curve: above S at the horizon before it, below after."""
    with open(os.path.join(out, "predictions.csv"), newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    horizons = [c for c in rows[0] if re.fullmatch(r"s_[0-9.]+", c)]
    checked = events = 0
    for r in rows:
        if not r["s_own"]:
            continue
        events += r["event_own"] == "1"
        if r["event_own"] == "1" and r["event"] != "1":
            fail(f"{r['patient_id']}: event_own without an event")
        for h in horizons:
            if r[h]:
                sign = 1 if float(r["time"]) <= float(h[2:]) else -1
                if sign * (float(r["s_own"]) - float(r[h])) < -1e-6:
                    fail(f"{r['patient_id']}: s_own {r['s_own']} at {r['time']} and {h} {r[h]}")
                checked += 1
    if not checked or not events:
        fail("predictions.csv: no s_own to check")
    return checked


def main():
    out = sys.argv[1]
    page = Page()
    with open(os.path.join(out, "report.html"), encoding="utf-8") as f:
        page.feed(f.read())
    if len(page.tables) < 5:
        fail(f"only {len(page.tables)} tables name their CSV")
    numbers = sum(check_table(out, t) for t in page.tables)
    values = all_values(out)
    exact = set(values)
    for d in page.data:
        v = float(d["value"])
        if v not in exact:
            fail(f"a sentence shows {d['text']}, and no CSV has {d['value']}")
        if not shows(d["text"], v):
            fail(f"a sentence shows {d['text']} for {d['value']}")
    drawn = 0
    for text in page.svg_text:
        if not re.search(r"n \d|events|\(", text):
            continue  # ticks and axis titles
        for shown in re.findall(r"-?\d+\.\d+", text):
            if not any(shows(shown, v) for v in values):
                fail(f"a figure shows {shown} in {text!r}, and no CSV has it")
            drawn += 1
    own = check_own(out)
    print(f"report_trace: {own} own survivals on their curves, {len(page.tables)} tables, {numbers} numbers in their cells, {len(page.data)} in sentences, "
          f"{drawn} in figures, all found")


main()
