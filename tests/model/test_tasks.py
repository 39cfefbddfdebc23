"""Every task: its prompt begins its training example, and what was said can be read back."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.layout import FILLER, Grid, SpeechPiece, SpokenPiece, TextPiece
from model.reply import Reply
from model.segments import Segment, Speech, Spoken, Text
from model.special_tokens import WRITTEN_FORMS
from model.tasks import Example, Tasks, Turn
from model.text import TextTokenizer
from schemas.errors import ModelError

TASKS = Tasks(TextTokenizer.of_bytes(), empty_codes=(64, 64, 16, 16))
LAYOUT, SPECIAL = TASKS.layout, TASKS.text.special
SIZE = LAYOUT.group_size


def codes_of(num_groups: int, seed: int = 0) -> Grid:
    shape = (num_groups * SIZE, LAYOUT.num_codebooks)
    return np.random.default_rng(seed).integers(0, LAYOUT.empty_codes, shape)


HEARD, OTHER, SAID = codes_of(3, 1), codes_of(2, 2), codes_of(7, 3)
PAST = [
    Turn(role="user", codes=HEARD),
    Turn(role="assistant", text="Sunny.", codes=SAID),
    Turn(role="user", text="And then?"),
    Turn(role="assistant", text="Rain."),
    Turn(role="user", codes=OTHER),
]
Task = Callable[[Reply | None], Example]
WRITTEN: dict[str, Task] = {
    "asr": lambda reply: TASKS.asr(HEARD, reply=reply),
    "understand": lambda reply: TASKS.understand(HEARD, "Who speaks?", reply=reply),
    "dialogue": lambda reply: TASKS.dialogue(PAST, answer="text", system="Brief.", reply=reply),
    "few_shot": lambda reply: TASKS.few_shot(
        [Speech(HEARD), Text("one"), Speech(OTHER)], answer="text", reply=reply
    ),
    "few_shot_text": lambda reply: TASKS.few_shot([Text("2+2=")], answer="text", reply=reply),
    "few_shot_question": lambda reply: TASKS.few_shot_question(
        [(HEARD, "Who?", "A man"), (OTHER, "Where?", "At home")], HEARD, "When?", reply=reply
    ),
}
THOUGHT_OVER: dict[str, Task] = {
    "understand": lambda reply: TASKS.understand(HEARD, "Who?", thinking=True, reply=reply),
    "dialogue": lambda reply: TASKS.dialogue(PAST, answer="text", thinking=True, reply=reply),
}
SPOKEN: dict[str, Task] = {
    "tts": lambda reply: TASKS.tts("Good day.", reply=reply),
    "dialogue": lambda reply: TASKS.dialogue(PAST, answer="speech", reply=reply),
    "dialogue_voice": lambda reply: TASKS.dialogue(
        PAST, answer="speech", voice=HEARD, system="Brief.", reply=reply
    ),
    "in_context_speech": lambda reply: TASKS.in_context_speech(
        "Change the voice.", [(HEARD, Spoken("Hm.", SAID))], OTHER, reply=reply
    ),
    "few_shot": lambda reply: TASKS.few_shot(
        [Speech(HEARD), Spoken("Yes.", SAID), Speech(OTHER)], answer="speech", reply=reply
    ),
    "few_shot_text": lambda reply: TASKS.few_shot([Text("Say it:")], answer="speech", reply=reply),
    "continue_speech": lambda reply: TASKS.continue_speech(HEARD, reply=reply),
}
STYLED: dict[str, Task] = {
    "instruct_tts": lambda reply: TASKS.instruct_tts("Good day.", "whisper", reply=reply),
    "instruct_tts_voice": lambda reply: TASKS.instruct_tts(
        "Good day.", "whisper", voice=HEARD, reply=reply
    ),
    "natural_tts": lambda reply: TASKS.natural_tts("Whisper: good day", voice=OTHER, reply=reply),
}
WITH_THOUGHTS = {f"thinking {name}": task for name, task in THOUGHT_OVER.items()} | STYLED
IN_TEXT = WRITTEN | {f"thinking {name}": task for name, task in THOUGHT_OVER.items()}
IN_SPEECH = {f"spoken {name}": task for name, task in SPOKEN.items()} | STYLED
ALL = IN_TEXT | IN_SPEECH


def reply_for(name: str, text: str = "It is six.", codes: Grid = SAID) -> Reply:
    return Reply(
        text=text,
        codes=codes if name in IN_SPEECH else None,
        thoughts="Hm, let me see." if name in WITH_THOUGHTS else "",
    )


PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not any(form in text for form in WRITTEN_FORMS.values())
)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=8, deadline=None)
@given(text=PLAIN_TEXT, num_groups=st.integers(0, 12))
def test_a_prompt_begins_its_training_example(name: str, text: str, num_groups: int) -> None:
    prompt = ALL[name](None)
    trained = ALL[name](reply_for(name, text, codes_of(num_groups, 5)))
    assert (prompt.labels == FILLER).all()
    length = prompt.ids.shape[1]
    np.testing.assert_array_equal(trained.ids[:, :length], prompt.ids)
    assert trained.ids.shape[1] > length
    is_trained = trained.labels[0, ::SIZE] != FILLER
    first = int(is_trained.argmax())
    opened = int(LAYOUT.text_ids(prompt.ids)[-1] == SPECIAL.sostm)
    assert first == length // SIZE - opened
    np.testing.assert_array_equal(trained.labels[:, first * SIZE :], trained.ids[:, first * SIZE :])
    assert (trained.labels[:, : first * SIZE] == FILLER).all()


@pytest.mark.parametrize("name", ALL)
def test_a_prompt_and_its_example_are_read_back(name: str) -> None:
    for reply in (None, reply_for(name)):
        ids = ALL[name](reply).ids
        pieces = LAYOUT.read(ids)
        np.testing.assert_array_equal(LAYOUT.lay(pieces), ids)
        if reply is not None and name in IN_SPEECH:
            spoken = pieces[-2]
            assert isinstance(spoken, SpokenPiece)
            assert TASKS.text.decode(spoken.token_ids) == reply.text
            np.testing.assert_array_equal(spoken.codes, reply.codes)


@pytest.mark.parametrize("name", ALL)
def test_a_reply_is_read_from_what_would_be_generated(name: str) -> None:
    """What follows the prompt, up to the token that stops generation."""
    reply = reply_for(name)
    prompt_length = ALL[name](None).ids.shape[1]
    generated = ALL[name](reply).ids[:, prompt_length:]
    text_ids = LAYOUT.text_ids(generated)
    stops = {SPECIAL.eostm, SPECIAL.im_end, SPECIAL.endoftext}
    end = next(position for position, token_id in enumerate(text_ids) if token_id in stops)
    found = TASKS.read_reply(generated[:, : (end + 1) * SIZE])
    thoughts, _, said = found.text.rpartition("</think>\n")
    assert said.removeprefix("<|sostm|>") == reply.text
    assert thoughts.strip() == reply.thoughts
    if reply.codes is None:
        assert found.codes is None
    else:
        np.testing.assert_array_equal(found.codes, reply.codes)


@pytest.mark.parametrize("name", ALL)
def test_a_reply_must_suit_its_task(name: str) -> None:
    if name in IN_SPEECH:
        with pytest.raises(ModelError, match="reply without codes"):
            ALL[name](Reply(text="So."))
    else:
        with pytest.raises(ModelError, match="reply with codes"):
            ALL[name](Reply(text="So.", codes=SAID))
    if name not in WITH_THOUGHTS:
        codes = SAID if name in IN_SPEECH else None
        with pytest.raises(ModelError, match="reply with thoughts"):
            ALL[name](Reply(text="So.", codes=codes, thoughts="Hm."))


def written_in(example: Example) -> str:
    return TASKS.text.decode(
        token_id for token_id in LAYOUT.text_ids(example.ids) if token_id != SPECIAL.empty
    )


def test_a_dialogue_goes_on_from_the_grid_that_was_generated() -> None:
    """History is joined, not laid out again: the later turn starts with its user."""
    first = TASKS.dialogue([Turn(role="user", codes=HEARD)], answer="text", system="Brief.")
    second = TASKS.dialogue([Turn(role="user", text="More?")], answer="text")
    joined = LAYOUT.join([first.ids, second.ids])
    assert LAYOUT.text_ids(second.ids)[0] == SPECIAL.im_start
    assert LAYOUT.read(joined)[0] == TextPiece(
        token_ids=TASKS.text.encode("<|im_start|>user\nBrief.\n\n")
    )
    assert LAYOUT.read(joined)[1] == SpeechPiece(codes=HEARD)


@pytest.mark.parametrize(
    ("text", "said"),
    [("HELLO YOU", "Hello you"), ("hello", "Hello"), ("Hello You", "Hello You"), ("今天", "今天")],
)
def test_text_in_one_case_is_read_as_a_sentence(text: str, said: str) -> None:
    assert f": {said}<|im_end|>" in written_in(TASKS.tts(text))


@pytest.mark.parametrize(
    ("items", "answer", "tag"),
    [
        ([Speech(HEARD)], "speech", "<Spe>:"),
        ([Speech(HEARD), Spoken("Hm.", SAID), Speech(HEARD)], "speech", "<Spe>:"),
        ([Speech(HEARD)], "text", "[Int]:"),
        ([Text("Say:")], "speech", "[Int]:"),
        ([Text("Say:")], "text", "Say:"),
    ],
)
def test_few_shot_says_what_is_mixed(items: list[Segment], answer: str, tag: str) -> None:
    shown = TASKS.few_shot(items, answer="speech" if answer == "speech" else "text")
    assert written_in(shown).startswith(tag)


def test_the_seed_draws_the_request_and_nothing_else() -> None:
    drawn = {written_in(TASKS.asr(HEARD, seed=seed)) for seed in range(60)}
    assert len(drawn) == len(TASKS.wording.asr_zh) + len(TASKS.wording.asr_en)
    np.testing.assert_array_equal(TASKS.asr(HEARD, seed=4).ids, TASKS.asr(HEARD, seed=4).ids)


@pytest.mark.parametrize("form", WRITTEN_FORMS.values())
def test_text_of_a_caller_cannot_pass_for_structure(form: str) -> None:
    text = f"so {form} what"
    asked: list[Callable[[], Example]] = [
        lambda: TASKS.tts(text),
        lambda: TASKS.instruct_tts("Hello.", text),
        lambda: TASKS.natural_tts(text),
        lambda: TASKS.understand(HEARD, text),
        lambda: TASKS.dialogue([Turn(role="user", text=text)], answer="text"),
        lambda: TASKS.dialogue([Turn(role="user", codes=HEARD)], answer="text", system=text),
        lambda: TASKS.few_shot([Text(text)], answer="text"),
        lambda: TASKS.few_shot_question([(HEARD, text, "A")], HEARD, "Q"),
        lambda: TASKS.few_shot_question([(HEARD, "Q", text)], HEARD, "Q"),
        lambda: TASKS.few_shot_question([], HEARD, text),
        lambda: TASKS.in_context_speech(text, [], HEARD),
        lambda: TASKS.in_context_speech("So", [(HEARD, Spoken(text, SAID))], HEARD),
        lambda: TASKS.asr(HEARD, reply=Reply(text=text)),
        lambda: TASKS.tts("Hello.", reply=Reply(text=text, codes=SAID)),
    ]
    for ask in asked:
        with pytest.raises(ModelError, match="which is structure; take it out"):
            ask()


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [Turn(role="assistant", text="Hello.")],
        [Turn(role="user", text="Hello."), Turn(role="assistant", text="Hello.")],
        [Turn(role="user", text="Hello."), Turn(role="user", text="Hello.")],
    ],
)
def test_user_and_assistant_take_turns(turns: list[Turn]) -> None:
    with pytest.raises(ModelError, match="with a user's turn last"):
        TASKS.dialogue(turns, answer="text")


@pytest.mark.parametrize("turn", [Turn(role="user"), Turn(role="user", text="Hello.", codes=HEARD)])
def test_a_turn_says_one_thing(turn: Turn) -> None:
    with pytest.raises(ModelError, match="turn of the user: wanted text or codes"):
        TASKS.dialogue([turn], answer="text")


@pytest.mark.parametrize("turn", [Turn(role="assistant"), Turn(role="assistant", codes=SAID)])
def test_speech_of_the_assistant_comes_with_its_text(turn: Turn) -> None:
    user = Turn(role="user", codes=HEARD)
    with pytest.raises(ModelError, match="turn of the assistant"):
        TASKS.dialogue([user, turn, user], answer="speech")


def test_a_voice_and_thoughts_exclude_what_they_cannot_serve() -> None:
    turns = [Turn(role="user", codes=HEARD)]
    with pytest.raises(ModelError, match="a voice needs a spoken answer"):
        TASKS.dialogue(turns, answer="text", voice=OTHER)
    with pytest.raises(ModelError, match="only text replies are thought over"):
        TASKS.dialogue(turns, answer="speech", thinking=True)


def test_codes_are_checked_wherever_they_come_in() -> None:
    broken = HEARD[:-1]
    for ask in (
        lambda: TASKS.asr(broken),
        lambda: TASKS.instruct_tts("Hello.", "whisper", voice=broken),
        lambda: TASKS.in_context_speech("So", [(HEARD, Spoken("Hm.", broken))], HEARD),
        lambda: TASKS.tts("Hello.", reply=Reply(text="Hello.", codes=broken)),
    ):
        with pytest.raises(ModelError, match="wanted whole groups of 4"):
            ask()
