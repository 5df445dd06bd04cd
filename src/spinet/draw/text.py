"""Text in a drawing: escaped, positioned and measured."""

from collections.abc import Iterable, Sequence
from html import escape

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, GREY, FAINT = "#1b2430", "#667282", "#9aa5b3"

# Widths of characters relative to the font size: DejaVu Sans, the widest of the fonts.
_WIDTHS = {**dict.fromkeys("ijl.,:;' ", 0.32), **dict.fromkeys("frt-()/", 0.42), **dict.fromkeys("mwMW@%", 0.98)}


def text(x: float, y: float, string: str, size: float, color: str, anchor: str = "start", weight: int = 400) -> str:
    """Return a text element with its baseline at `y`; `anchor` is "start", "middle" or "end"."""
    align = "" if anchor == "start" else f' text-anchor="{anchor}"'
    bold = "" if weight == 400 else f' font-weight="{weight}"'
    at = f'x="{round(x, 2):g}" y="{round(y, 2):g}"'
    return f'<text {at} font-size="{size:g}" fill="{color}" stroke="none"{align}{bold}>{clean(string)}</text>'


def clean(string: str) -> str:
    """Escape for XML; characters that XML does not allow become replacement characters."""
    return escape(printable(string))


def printable(string: str) -> str:
    """Replace control characters."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in string)


def length(string: str, size: float) -> float:
    """Return an upper bound of the width of a string."""
    return size * sum(_WIDTHS.get(char, 0.64 if char < "\u0300" else 1.1) for char in string)


def shorten(string: str, width: float, size: float) -> str:
    """Cut a string that is too long, with an ellipsis."""
    if length(string, size) <= width:
        return string
    while string and length(string, size) > width - size:
        string = string[:-1]
    return string + "\N{HORIZONTAL ELLIPSIS}"


def lines_of(items: Iterable[str], width: float, size: float) -> list[str]:
    """Join items with dots into lines that fit."""
    lines = [""]
    for item in (shorten(item, width, size) for item in items):
        joined = f"{lines[-1]} \N{MIDDLE DOT} {item}" if lines[-1] else item
        if length(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(item)
    return lines


def svg(name: str, source: str, width: float, height: float, parts: Sequence[str]) -> str:
    """Return a whole SVG document."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="{FONT}">'
    )
    about = f"<title>{clean(name)}</title>" + (f"<desc>{clean(source)}</desc>" if source else "")
    # The background keeps the drawing readable on a dark page.
    background = f'<rect width="{width:g}" height="{height:g}" rx="12" fill="#ffffff"/>'
    return "\n".join([head, about, background, *parts, "</svg>\n"])
