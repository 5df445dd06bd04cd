"""As much of the protocol buffers' wire format as reading a few known messages takes."""

from dataclasses import dataclass

# A field's value: a number (varint or fixed) or bytes (text, nested message).
Value = int | bytes


@dataclass(frozen=True)
class Message:
    """The fields of one message, by number, in the order they came."""

    fields: dict[int, list[Value]]

    def number(self, field: int) -> int:
        """Return a number field; 0 when it is absent, as the format has it."""
        value = self.fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} is not a number")
        return value

    def content(self, field: int) -> list[bytes]:
        """Return the bytes of every occurrence of a field."""
        return [value for value in self.fields.get(field, []) if isinstance(value, bytes)]

    def messages(self, field: int) -> list["Message"]:
        """Return every occurrence of a field as a message of its own."""
        return [parse_message(value) for value in self.content(field)]


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number at `place` and the place behind it.

    >>> read_varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def parse_message(data: bytes) -> Message:
    """Read a message.

    Raises:
        ValueError, IndexError: `data` is not one.

    >>> parse_message(bytes([0x08, 0x05, 0x12, 0x01, 0x41])).fields
    {1: [5], 2: [b'A']}
    """
    fields: dict[int, list[Value]] = {}
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        value, place = _value(data, place, tag & 7)
        fields.setdefault(tag >> 3, []).append(value)
    return Message(fields)


def _value(data: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return read_varint(data, place)
    if kind == 2:
        length, place = read_varint(data, place)
    elif kind in (1, 5):
        length = 8 if kind == 1 else 4
    else:
        raise ValueError(f"unknown kind of field {kind}")
    if place + length > len(data):
        raise ValueError("a field runs past the end")
    piece = data[place : place + length]
    return (piece if kind == 2 else int.from_bytes(piece, "little")), place + length
