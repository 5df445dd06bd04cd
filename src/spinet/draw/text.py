"""Words in a picture: escaped, placed and measured."""

from collections.abc import Iterable, Sequence
from html import escape

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, GREY, FAINT = "#1b2430", "#667282", "#9aa5b3"

# Widths of letters as shares of the font size: DejaVu Sans, the widest of the fonts.
_WIDTHS = {**dict.fromkeys("ijl.,:;' ", 0.32), **dict.fromkeys("frt-()/", 0.42), **dict.fromkeys("mwMW@%", 0.98)}


def text(x: float, y: float, words: str, size: float, colour: str, anchor: str = "start", weight: int = 400) -> str:
    """Return words with their baseline at `y`; `anchor` is "start", "middle" or "end"."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    bold = "" if weight == 400 else f' font-weight="{weight}"'
    at = f'x="{round(x, 2):g}" y="{round(y, 2):g}"'
    return f'<text {at} font-size="{size:g}" fill="{colour}" stroke="none"{place}{bold}>{clean(words)}</text>'


def clean(words: str) -> str:
    """Escape for XML; what XML cannot hold becomes the sign for an unreadable letter."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words))


def length(words: str, size: float) -> float:
    """How much room words need at most."""
    return size * sum(_WIDTHS.get(letter, 0.64 if letter < "\u0300" else 1.1) for letter in words)


def shorten(words: str, room: float, size: float) -> str:
    """Cut words that do not fit."""
    if length(words, size) <= room:
        return words
    while words and length(words, size) > room - size:
        words = words[:-1]
    return words + "\N{HORIZONTAL ELLIPSIS}"


def lines_of(items: Iterable[str], room: float, size: float) -> list[str]:
    """Join items with dots into lines that fit."""
    lines = [""]
    for item in (shorten(item, room, size) for item in items):
        joined = f"{lines[-1]} \N{MIDDLE DOT} {item}" if lines[-1] else item
        if length(joined, size) <= room:
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
    # A background of its own keeps the picture readable on a dark page.
    paper = f'<rect width="{width:g}" height="{height:g}" rx="12" fill="#ffffff"/>'
    return "\n".join([head, about, paper, *parts, "</svg>\n"])
