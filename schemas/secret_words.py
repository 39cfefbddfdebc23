"""What looks like a secret: in a name, in a URI, in a message."""

import re
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "apikey"),
        *("credential", "credentials", "signature", "sig", "bearer", "authorization"),
    }
)
_KEYS = frozenset({"api", "access", "private", "secret", "auth", "account", "shared", "signing"})
"""What stands before `key` where the key opens something: `sort_key` does not."""
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s/@'\"]*@)?([^\s?'\"]*)(\?[^\s'\"]*)?", re.I)

_PAIR = re.compile(
    r"""\b(([\w-]+)(?:\\?['"])?\s?[=:]\s?)"""  # a name in quotes or without, and what parts it
    r"""(?:(\\?['"]).*?\3|(?<==)[^\s,&;'")]+)"""  # a value in quotes, or a bare one behind =
)


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
    """A message in which URLs have lost their user, password and query, and secret names a value.

    Names with values are `token=...`, and `'Authorization': '...'` as Python shows a mapping.
    """
    text = _URL.sub(lambda url: f"{url[1]}{url[3]}{'?...' if url[4] else ''}", text)
    return _PAIR.sub(lambda pair: f"{pair[1]}..." if sounds_secret(pair[2]) else pair[0], text)
