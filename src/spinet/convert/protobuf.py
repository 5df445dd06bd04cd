"""As much of the protocol buffers wire format as TensorFlow's checkpoint messages need.

The index's own table needs varints anyway, and no package at hand ships `tensor_bundle_pb2`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """The fields of a message by number, in order: an integer (varint or fixed) or bytes (string, nested message)."""

    fields: dict[int, list[int | bytes]]

    def number(self, field: int) -> int:
        """Return an integer field; absent fields are 0, as the format defines."""
        value = self.fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} is not an integer")
        return value

    def content(self, field: int) -> list[bytes]:
        """Return the bytes of every occurrence of a field."""
        return [value for value in self.fields.get(field, []) if isinstance(value, bytes)]

    def messages(self, field: int) -> list["Message"]:
        """Return every occurrence of a field as a nested message."""
        return [parse_message(value) for value in self.content(field)]


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the integer at `position` and the position after it.

    >>> read_varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def parse_message(data: bytes) -> Message:
    """Parse a message.

    Raises:
        ValueError, IndexError: `data` is not a message.

    >>> parse_message(bytes([0x08, 0x05, 0x12, 0x01, 0x41])).fields
    {1: [5], 2: [b'A']}
    """
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        value, position = _value(data, position, tag & 7)
        fields.setdefault(tag >> 3, []).append(value)
    return Message(fields)


def _value(data: bytes, position: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == 0:
        return read_varint(data, position)
    if wire_type not in (1, 2, 5):
        raise ValueError(f"unknown wire type {wire_type}")
    length, position = read_varint(data, position) if wire_type == 2 else ({1: 8, 5: 4}[wire_type], position)
    end = position + length
    if end > len(data):
        raise ValueError("a field runs past the end")
    return (data[position:end] if wire_type == 2 else int.from_bytes(data[position:end], "little")), end
