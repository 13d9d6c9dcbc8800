"""The icons of the theme: it brings 1400 of them twice, as a font and as a script of half a megabyte; few are shown."""

import re
import shutil
from pathlib import Path

from fontTools import subset

NAME = re.compile(r"\bfa-[a-z-]+")
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\(f[0-9a-f]{3})"\}')
BY_CODE = re.compile(r"\\(f[0-9a-f]{3})\b")  # in styles of the theme, which name no icon


def shown(texts, sheets, rules):
    r"""The codes of the icons that ``texts``, pages and scripts, name by the ``rules`` of the font, and style ``sheets`` by code.

    >>> rules = '.fa-bars:before,.fa-navicon:before{content:"\\f0c9"}.fa-moon:before{content:"\\f186"}'
    >>> [hex(code) for code in shown(['<i class="fa-solid fa-bars">'], [], rules)]
    ['0xf0c9']
    """
    names = {name for text in texts for name in NAME.findall(text)}
    codes = {code for sheet in sheets for code in BY_CODE.findall(sheet)}
    codes |= {code for known, code in RULE.findall(rules) if names & set(NAME.findall(known))}
    return sorted(int(code, 16) for code in codes)


def keep(app, exception):
    """Leave the font of a finished build with the icons that it shows, and take its script away."""
    static = Path(app.outdir) / "_static"
    if exception is not None or app.builder.format != "html":
        return
    for home in (static / "vendor" / "fontawesome").glob("*"):
        shutil.rmtree(home / "js", ignore_errors=True)
        sheet, font = home / "css" / "all.min.css", home / "webfonts" / "fa-solid-900.ttf"
        rules = sheet.read_text(encoding="utf-8")
        named = [*Path(app.outdir).rglob("*.html"), *static.glob("scripts/*.js")]
        texts, sheets = (
            [path.read_text(encoding="utf-8") for path in paths] for paths in (named, static.glob("styles/*.css"))
        )
        options = subset.Options()
        whole, chosen = subset.load_font(font, options), subset.Subsetter(options)
        chosen.populate(unicodes=shown(texts, sheets, rules))
        chosen.subset(whole)
        subset.save_font(whole, font, options)
        font.with_suffix(".woff2").unlink(missing_ok=True)
        sheet.write_text(re.sub(r'url\([^)]*fa-solid-900\.woff2\) format\("woff2"\),', "", rules), encoding="utf-8")
