#!/usr/bin/env python3
"""Makes the letters of PNG figures, assets/fonts/*.ttf, out of Liberation Sans 2 (SIL Open Font License 1.1).

Keeps Latin letters, digits and a few signs; drops hinting and layout tables; gives the result a name of its own, as the
licence asks of a changed font.

    pip install fonttools
    scripts/figure_font.py LiberationSans-Regular.ttf LiberationSans-Bold.ttf
"""

import pathlib
import sys

from fontTools import subset, ttLib

NAME = "SML Figure Sans"
SIGNS = "\u2212\u2013\u2014\u2265\u2264\u00d7\u2026\u03c3\u03bc\u2190\u2192"
LETTERS = [*range(0x20, 0x7F), *range(0xA0, 0x180), *map(ord, SIGNS)]
DROPPED = ["DSIG", "FFTM", "GDEF", "GPOS", "GSUB", "gasp", "meta"]


def shrink(source: str, weight: str, folder: pathlib.Path) -> None:
    font = ttLib.TTFont(source)
    options = subset.Options(hinting=False, legacy_kern=True, notdef_outline=True, name_IDs=["*"])
    options.drop_tables += DROPPED
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=LETTERS)
    subsetter.subset(font)
    names = {1: NAME, 2: weight, 3: f"{NAME} {weight}", 4: f"{NAME} {weight}", 6: f"SMLFigureSans-{weight}"}
    for record in list(font["name"].names):
        if record.nameID in names or record.nameID > 14:
            font["name"].removeNames(nameID=record.nameID)
    for identifier, text in names.items():
        font["name"].setName(text, identifier, 3, 1, 0x409)
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    font.save(folder / f"figure-sans-{weight.lower()}.ttf")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    target = pathlib.Path(__file__).resolve().parent.parent / "assets" / "fonts"
    target.mkdir(parents=True, exist_ok=True)
    for file, weight in zip(sys.argv[1:], ["Regular", "Bold"]):
        shrink(file, weight, target)
