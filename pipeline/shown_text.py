"""Text of unknown origin (transcripts, file names) made fit to be shown to a person."""

import unicodedata

_KEPT_CONTROLS = "\n\t"
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f"  # marks
    "\u202a\u202b\u202c\u202d\u202e"  # embeddings and overrides
    "\u2066\u2067\u2068\u2069"  # isolates
)


def clean(text: str) -> str:
    """The text without control characters and without characters that turn the reading direction.

    The former can drive a terminal, the latter can make a line read as something it is not. Line
    breaks and tabs stay. Escaping for HTML is not done here.
    """
    return "".join(
        character
        for character in text
        if character in _KEPT_CONTROLS
        or (character not in _BIDI_CONTROLS and unicodedata.category(character) not in ("Cc", "Cs"))
    )


def common_folder(first: str, last: str) -> str:
    """Folder that all URIs share, with its slash, from the smallest and the largest of them."""
    folder = ""
    for name in first.split("/")[:-1]:
        if not last.startswith(f"{folder}{name}/"):
            break
        folder += f"{name}/"
    return folder


def shown_name(uri: str, folder: str) -> str:
    """The URI below `folder`, without query (it may hold a signature), clean."""
    name = uri.removeprefix(folder)
    if "://" in uri:
        name = name.partition("?")[0]
    return clean(name)
