"""Reads YAML as plain data: nothing is constructed, nothing unfolds, nothing is said twice.

The one reader of all YAML and JSON that people hand in: job specs, training specs, wordings, the
configs of model folders.
"""

from typing import Any

import yaml

from schemas.errors import SpecError

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_INTEGER_BITS = 64


class _StrictLoader(yaml.SafeLoader):
    """Plain data only: no aliases (they can be nested into gigabytes), no key said twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise SpecError(f"line {event.start_mark.line + 1}: YAML aliases are not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        # A tag can call anything a mapping ('!!map text'); YAML's own error says what is none.
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(f"line {line}: a key here is a {key_node.id}, wanted one word")
            if key_node.value in seen:
                key = shortened(key_node.value)
                raise SpecError(f"line {line}: the key {key} stands here twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        line = node.start_mark.line + 1
        try:
            value = super().construct_object(node, deep=deep)
        except (SpecError, yaml.YAMLError):
            raise
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            # YAML takes the value for a date or a number by its look or its tag, and then Python's
            # own errors come through: '2024-13-45', '!!int abc', '!!bool maybe'.
            kind = node.tag.rpartition(":")[2]
            raise SpecError(
                f"line {line}: {shortened(node.value)} is no {kind}; text is written in quotes"
            ) from error
        if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
            raise SpecError(
                f"line {line}: {shortened(node.value)} is a whole number of more than "
                f"{MAX_INTEGER_BITS} bits; text is written in quotes"
            )
        return value


def parse_content(content: bytes) -> Any:
    """What a YAML or JSON file's bytes say; raises `SpecError`.

    Read at most `MAX_BYTES + 1` of the file: that is enough to be refused.
    """
    if len(content) > MAX_BYTES:
        raise SpecError(f"is larger than {MAX_BYTES} bytes, which no such file is")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot be read as text: {error}") from error
    return parse_yaml(text)


def parse_mapping(content: bytes) -> dict[str, Any]:
    """The same where keys and values are wanted at the top."""
    raw = parse_content(content)
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"holds {type(raw).__name__}"
        raise SpecError(f"{found}, wanted keys and values")
    return raw


def parse_yaml(text: str, levels_above: int = 0) -> Any:
    """What a YAML text says, `levels_above` levels down in something; raises `SpecError`."""
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader, made stricter
        too_deep = levels_above + _depth(value) > MAX_DEPTH
    except yaml.YAMLError as error:
        raise SpecError(f"is no YAML: {_cause(error)}") from error
    except RecursionError:
        too_deep = True
    if too_deep:
        raise SpecError(f"is nested deeper than {MAX_DEPTH} levels")
    return value


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _cause(error: yaml.YAMLError) -> str:
    # Not YAML's own words: they quote the line, and a secret may stand in it.
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1})" if mark else ""
    quotes = "; a text that begins with '*' needs quotes" if "alias" in str(error) else ""
    return f"{problem or ' '.join(str(error).split())}{where}{quotes}"


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(v) for v in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(v) for v in value), default=0)
    return 0
