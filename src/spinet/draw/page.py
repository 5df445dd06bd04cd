"""What all HTML pages share: the palette, a base template, and one way to fill templates in."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from spinet.draw.text import FONT, printable

# Colours by name, for a light and a dark screen; the figures' stay apart for the colour-blind (blue and orange first).
PALETTE = {
    "ink": ("#1b2430", "#e4e9f0"),
    "grey": ("#566273", "#9aa7b8"),
    "faint": ("#8a95a4", "#8390a1"),
    "line": ("#d9dfe7", "#29333f"),
    "grid": ("#e3e8ee", "#2a3440"),
    "page": ("#eef1f5", "#11161d"),
    "paper": ("#ffffff", "#19212b"),
    "hover": ("#e2e8ef", "#1c2430"),
    "band": ("rgba(110,122,138,0.20)", "rgba(150,164,182,0.22)"),
    "blue": ("#2f6fb7", "#6aa9ee"),
    "orange": ("#d0741c", "#f0a04f"),
    "green": ("#2c8a68", "#57c49a"),
    "purple": ("#8456b8", "#b48be4"),
    "red": ("#c8413b", "#f0726b"),
    "alert-ink": ("#8a1f1f", "#ffc9c9"),
    "alert-page": ("#fdecec", "#3b1b1f"),
    "alert-line": ("#f2c4c4", "#6b2b31"),
}


def render_page(package: str, template: str, **values: Any) -> str:
    """Fill in a template from the folder `templates` of a package; all values are escaped."""
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("spinet.draw")])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.globals |= {"palette": PALETTE, "font": FONT}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment
