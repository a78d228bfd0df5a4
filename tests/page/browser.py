#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens pages of `switchyard report` in a real browser and looks at what a reader would see.

usage: browser.py [--shots DIRECTORY] PAGE...

For each page, in light and dark, 360, 768 and 1280 pixels wide, and on paper: no message on the
console, no request but for the page, no script, nothing wider than the window, letters of at least
12 pixels, a contrast of at least 4.5, no letters over others or cut off, and a name, a description
and a table for every figure. Leaves with 77 where there is no Chromium. Standard library only.
"""
import argparse
import base64
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from devtools import Browser

LEAST_LETTERS = 12
LEAST_CONTRAST = 4.5
WIDTHS = (360, 768, 1280)
A4_PRINTED = 680  # CSS pixels of 180 mm

# What is wrong on the page as it is shown now: a list of sentences.
LOOK = (Path(__file__).parent / "look.js").read_text()


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return None


def pages_of(pdf):
    """Pages of a PDF as Chromium writes it, whose page objects are not compressed."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def shoot(browser, directory, name):
    if directory is None:
        return
    size = browser.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 12000), "scale": 1}
    shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    (directory / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def look_at(browser, page, shots):
    """Everything that is wrong with one page."""
    wrong = []

    def look(where, width, scheme, media=""):
        browser.show(width, scheme, media)
        wrong.extend(f"{where}: {sentence}" for sentence in browser.ask(
            LOOK, LEAST_LETTERS, LEAST_CONTRAST, width))

    browser.open(page.resolve().as_uri())
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            look(f"{scheme}, {width} px", width, scheme)
            shoot(browser, shots, f"{page.stem}-{scheme}-{width}")
    browser.show(360, "light")
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    look("tables open, 360 px", 360, "light")
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")

    grounds = {}
    for theme in ("light", "dark"):
        for scheme in ("light", "dark"):
            browser.show(1280, scheme)
            browser.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            grounds[theme, scheme] = browser.evaluate(
                "getComputedStyle(document.body).backgroundColor")
    browser.evaluate("delete document.documentElement.dataset.theme")
    if grounds["light", "light"] != grounds["light", "dark"]:
        wrong.append("data-theme=light does not hold against a dark preference")
    if grounds["dark", "light"] != grounds["dark", "dark"]:
        wrong.append("data-theme=dark does not hold against a light preference")
    if grounds["light", "light"] == grounds["dark", "dark"]:
        wrong.append("light and dark look the same")

    look("paper", A4_PRINTED, "dark", "print")
    browser.show(A4_PRINTED, "light", "")
    printed = browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
    pdf = base64.b64decode(printed["data"])
    figures = browser.evaluate("document.querySelectorAll('figure svg.wide').length")
    if not 1 <= pages_of(pdf) <= figures + 3:
        wrong.append(f"paper: {pages_of(pdf)} pages of {figures} figures")
    if shots is not None:
        (shots / f"{page.stem}.pdf").write_bytes(pdf)

    wrong.extend(f"console: {text}" for text in browser.messages)
    own = page.resolve().as_uri()
    wrong.extend(f"asks for {url}" for url in browser.requests
                 if url.split("#")[0] != own and not url.startswith("data:"))
    return wrong, figures, pages_of(pdf)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--shots", type=Path)
    parser.add_argument("pages", nargs="+", type=Path)
    arguments = parser.parse_args()
    program = chromium()
    if program is None:
        print("browser: SKIPPED, no page was looked at: there is no chromium here", file=sys.stderr)
        return 77
    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory() as profile, Browser(program, profile) as browser:
        for page in arguments.pages:
            wrong, figures, sheets = look_at(browser, page, arguments.shots)
            failed = failed or bool(wrong)
            for sentence in wrong[:40]:
                print(f"{page.name}: {sentence}")
            print(f"{page.name}: {figures} figures, {sheets} sheets of paper, "
                  f"{len(wrong)} things wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    sys.exit(main())
