"""Validation of dataclasses: each field against its annotation, ranges included (`msgspec.Meta`)."""

import re
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from spinet.errors import SpinetError, is_unicode, quoted, unknown_name

Count = Annotated[int, Meta(ge=1, le=10**6)]
Natural = Annotated[int, Meta(ge=0, le=2**62)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
NonNegative = Annotated[float, Meta(ge=0, le=1e9)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0, le=0.99)]
# Batch norm needs two.
Regions = Annotated[int, Meta(ge=2, le=10**5)]
# Pixels. Networks halve an image five times and more; the largest published one is trained at 1536.
SMALLEST_IMAGE, LARGEST_IMAGE = 16, 8192
ImageSize = Annotated[int, Meta(ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)]
Name = Annotated[str, Meta(min_length=1)]

# How msgspec calls the types in its messages, and what a user calls them.
WORDS = {
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "null": "none",
}


def check_fields(what: str, value: Any) -> None:
    """Convert the fields of a frozen dataclass to their annotated types: lists to tuples, dicts to dataclasses.

    Args:
        what: names the dataclass in errors; may be empty.
        value: the dataclass.

    Raises:
        SpinetError: a value has another type, or is out of its range.
    """
    for name, kind in get_type_hints(type(value), include_extras=True).items():
        given = getattr(value, name)
        if isinstance(kind, type) and is_dataclass(given) and isinstance(given, kind):  # `convert` refuses subclasses
            continue
        if isinstance(given, str) and not is_unicode(given):
            raise SpinetError(f"{what}{what and '.'}{name} must be valid Unicode, got {quoted(given)}")
        try:
            object.__setattr__(value, name, msgspec.convert(given, kind))
        except UnicodeEncodeError:  # inside a list or an object
            raise SpinetError(f"{what}{what and '.'}{name} must be valid Unicode, got {quoted(given)}") from None
        except OverflowError:
            raise SpinetError(f"{what}{what and '.'}{name} must be a smaller number, got {quoted(given)}") from None
        except msgspec.ValidationError as error:
            dotted = f"{what}.{name}".replace(": ", ".") if re.fullmatch(r"\w+(: \w+)*", what) else ""
            if get_origin(kind) is Literal:
                label = dotted or (f"{name} in {what}" if what else name)
                raise unknown_name(label, given, get_args(kind)) from None
            label = dotted or (f"{what}: {name}" if what else name)
            expected, _, item = str(error).removeprefix("Expected ").partition(" - at `$")
            expected = re.sub(
                r"\w+(?=[^`]*`)", lambda match: WORDS.get(match[0], match[0]), expected.partition(", got ")[0]
            )
            expected = re.sub(r"\.0\b", "", expected.replace("`", ""))
            at = f" at {item[:-1]}" if item else ""
            raise SpinetError(f"{label} must be {expected}{at}, got {quoted(given)}") from None


def check_image_size(*sizes: int, name: str = "image_size") -> None:
    """Raise a SpinetError for a side of an image that no network is made for, in pixels."""
    for size in sizes:
        if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
            raise SpinetError(f"{name} is {quoted(size)}; must be from {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels")
