"""`config.json` of a checkpoint, and the checks that all who read one make.

`error` is the class that is raised.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import AudiomillError


def read_config(error: type[AudiomillError], owner: str, path: Path) -> dict[str, Any]:
    """The mapping in the file, unread values and all; `owner` ("a tokenizer folder") has one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file; {owner} has one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as failure:
        raise error(f"{path}: not JSON ({failure})") from None
    if not isinstance(config, dict):
        raise error(f"{path}: holds a {type(config).__name__}, wanted an object")
    return config


def require(
    error: type[AudiomillError], holds: bool, name: str, found: object, wanted: str
) -> None:
    """Raises unless the value is as wanted."""
    if not holds:
        raise error(f"{name} is {found!r}, wanted {wanted}")


def integer(error: type[AudiomillError], config: Mapping[str, Any], key: str) -> int:
    """The integer of a key that is there; true and false are none."""
    value = config[key]
    require(error, type(value) is int, key, value, "an integer")
    return int(value)
