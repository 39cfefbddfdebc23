"""Finds what looks like a secret where none belongs: in a spec, in a URI, in a message.

A spec is kept in the output and shown in reports, a URI stands in every row. So neither may hold a
password; both name the environment variable, or the store's own file, that does.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from schemas.errors import SpecError

_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "apikey"),
        *("credential", "credentials", "signature", "sig", "bearer", "authorization"),
    }
)
_KEYS = frozenset({"api", "access", "private", "secret", "auth", "account", "shared", "signing"})
"""What stands before `key` where the key opens something: `sort_key` does not."""
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s/@'\"]*@)?([^\s?'\"]*)(\?[^\s'\"]*)?", re.I)
_HOW = "put it into an environment variable and name that, or use the store's own credentials file"


def sounds_secret(name: str) -> bool:
    """Whether a key of that name would hold a secret: `api_key` and `HF_TOKEN`, not `api_key_env`.

    The name of a variable, a file or a folder that holds one is none.
    """
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().replace("-", "_").split("_")
    if words[-1] in ("env", "file", "path", "folder", "name"):
        return False
    if not _WORDS.isdisjoint(words):
        return True
    return any(b == "key" and a in _KEYS for a, b in pairwise(words))


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


def secret_in_uri(text: str) -> str | None:
    """What secret a URI holds, in a word or two without the secret; None for any other text."""
    if "://" not in text:
        return None
    try:
        parts = urlsplit(text.rpartition("::")[2])
        password, user = parts.password, parts.username
    except ValueError:
        return None
    if password:
        return "a password"
    # abfs://CONTAINER@ACCOUNT is how Azure writes a place; elsewhere a lone user is a token.
    if user and parts.scheme in ("http", "https"):
        return "a user"
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if sounds_secret(name) or name.lower() in ("key", "awsaccesskeyid"):
            return f"the parameter {name!r}"
    return None


def without_secrets(text: str) -> str:
    """A message in which URLs have lost their user, password and query."""
    return _URL.sub(lambda url: f"{url[1]}{url[3]}{'?...' if url[4] else ''}", text)


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
