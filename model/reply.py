"""What the model answers: given to train on, and read from what it generated."""

from dataclasses import dataclass

from model.layout import Codes, Grid, Layout
from model.text import HALF_A_CHARACTER, TextTokenizer
from schemas.errors import ModelError

_UNSPOKEN = ("empty", "eot", "eostm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """Text, and codes `[F, C]` if it is spoken; `thoughts` are written before it."""

    text: str
    codes: Codes | None = None
    thoughts: str = ""


def read_reply(ids_T: Grid, *, text: TextTokenizer, layout: Layout) -> Reply:
    """The reply in a generated grid `[1 + C, T]`, prompt not included, stop group included.

    The last group says nothing, whatever ended the run. A character whose bytes stand on both sides
    of a patch is put together, which the published reading does not do. Codes are those after the
    first `<|sostm|>` (from the start if there is none) and before the first `<|eostm|>`; frames
    whose first code is empty are no audio. `codes` is None if no frame is left. Raises `ModelError`
    for another shape or a code out of range.
    """
    text_ids = layout.text_ids(ids_T)
    unspoken = [getattr(layout.special, name) for name in _UNSPOKEN]
    said = text.decode(text_ids[:-1]).strip()
    for token_id in unspoken:
        said = said.replace(text.decode([token_id]), "")
    if HALF_A_CHARACTER in said:
        said = text.decode(word for word in text_ids[:-1] if word not in unspoken).strip()
    start = _first(text_ids, layout.special.sostm, -1) + 1
    end = _first(text_ids, layout.special.eostm, len(text_ids))
    codes_FC = ids_T[1:, start * layout.group_size : end * layout.group_size].T
    codes_FC = codes_FC[codes_FC[:, 0] != layout.empty_codes[0]]
    if not len(codes_FC):
        return Reply(text=said)
    return Reply(text=said, codes=layout.in_range(codes_FC))


def needs(reply: Reply, *, spoken: bool, thinking: bool) -> None:
    """Raises `ModelError` unless the reply has what its task calls for, and no more."""
    if spoken and reply.codes is None:
        raise ModelError("reply without codes: the task answers in speech; give Reply(codes=...)")
    if not spoken and reply.codes is not None:
        raise ModelError("reply with codes: the task answers in text; leave the codes out")
    if reply.thoughts and not thinking:
        raise ModelError("reply with thoughts: the task answers at once; ask with thinking=True")


def _first(text_ids: tuple[int, ...], token_id: int, otherwise: int) -> int:
    return text_ids.index(token_id) if token_id in text_ids else otherwise
