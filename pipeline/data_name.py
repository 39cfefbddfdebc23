"""Names of data files: whose they are, since when, and what is in them.

A name holds the epoch in which the attempt began, so that what a late attempt wrote can be told
from what a new one writes, and the start of the content's hash, so that two attempts which differ
never write the same name.
"""

import re

_NAME = re.compile(r"-(0|[1-9][0-9]{0,17})-[0-9a-f]{12}\.parquet\Z")


def data_name(unit: str, epoch: int, sha256: str) -> str:
    """`{unit}-{epoch}-{first 12 of sha256}.parquet`; a folder may be put before it."""
    return f"{unit}-{epoch}-{sha256[:12]}.parquet"


def epoch_of(name: str) -> int | None:
    """The epoch that a name holds; None where it holds none: a leftover or a stranger's file."""
    found = _NAME.search(name)
    return int(found[1]) if found else None


def unit_of(name: str) -> str | None:
    """The unit that a name holds; None where it holds no epoch either."""
    found = _NAME.search(name)
    return name[: found.start()].rpartition("/")[2] if found else None
