"""Refuses a spec that holds a secret.

A spec is kept in the output and shown in reports, a URI stands in every row. So neither may hold a
password; both name the environment variable, or the store's own file, that does.
"""

from collections.abc import Iterator
from typing import Any

from schemas.errors import SpecError
from schemas.secret_words import secret_in_uri, sounds_secret

_HOW = "put it into an environment variable and name that, or use the store's own credentials file"


def refuse_secrets(spec: dict[str, Any]) -> None:
    """Raises `SpecError` for a key or a URI in a raw spec that holds a secret; repeats no value."""
    for where, value in _leaves(spec, ()):
        for name in where:
            if sounds_secret(name):
                raise SpecError(
                    f"{'.'.join(where)}: a spec is kept with its output, so it holds no secrets; "
                    f"{_HOW}"
                )
        if isinstance(value, str) and (found := secret_in_uri(value)):
            raise SpecError(f"{'.'.join(where)}: found {found} in the URI; {_HOW}")


def _leaves(value: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            # The name counts although nothing stands behind it.
            yield (*where, str(key)), None
            yield from _leaves(below, (*where, str(key)))
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below, where)
    else:
        yield where, value
