"""As much of Thrift's compact protocol as the header of a Parquet page is written in."""

from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (
    *range(1, 11),
    12,
)
_MOST_DEEP = 8


class ThriftError(ValueError):
    """Bytes that are no such struct."""


def read_struct(data: memoryview, at: int, deep: int = 0) -> tuple[dict[int, Any], int]:
    """Fields of the struct at `at` by their number, and the place after it."""
    if deep > _MOST_DEEP:
        raise ThriftError("structs within structs")
    fields: dict[int, Any] = {}
    number = 0
    try:
        while head := data[at]:
            at += 1
            if head >> 4:
                number += head >> 4
            else:
                number, at = _integer(data, at)
            fields[number], at = _value(data, at, head & 15, deep)
    except IndexError as error:
        raise ThriftError("a struct that ends too early") from error
    return fields, at + 1


def _value(data: memoryview, at: int, kind: int, deep: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_I16, _I32, _I64):
        return _integer(data, at)
    if kind == _BINARY:
        size, at = _varint(data, at)
        return bytes(data[at : at + size]), at + size
    if kind == _STRUCT:
        return read_struct(data, at, deep + 1)
    if kind == _BYTE:
        return data[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8  # no header holds one that anybody reads
    if kind in (_LIST, _SET):
        size, inner = data[at] >> 4, data[at] & 15
        at += 1
        if size == 15:
            size, at = _varint(data, at)
        items = []
        for _ in range(size):
            item, at = _value(data, at, inner, deep)
            items.append(item)
        return items, at
    raise ThriftError(f"a field of type {kind}")


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    """A zigzag number."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ThriftError("a number of more than 64 bits")
