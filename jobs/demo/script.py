"""What is said in the demo corpus, by whom, and with which pauses.

The vocabulary is plain, and every English sentence was tried: the small recogniser that the demo
uses knows each word in this voice. What is left of the demo's word error then comes from the
chain and not from rare words. Digits are spelled as they are spoken, so a transcript is exact.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One turn: a voice, its words, and the pause before it."""

    voice: str
    """A flite voice (slt, rms, awb, kal16), or an espeak-ng voice for Mandarin."""
    text: str
    gap_s: float = 0.5
    """From the end of the speech before; negative where this voice cuts in before that end."""


MANDARIN_VOICE = "cmn-latn-pinyin"
"""espeak-ng's other Mandarin voice, `cmn`, spells these characters with English sounds."""

CONVERSATION = (
    Line("slt", "It is good to see you again. What happened with the water in your garden?"),
    Line(
        "rms",
        "There was no water on Monday. The pump was still running, but nothing came out of the "
        "pipe.",
        0.45,
    ),
    Line("slt", "I had the same problem in my garden last year, and I know the reason.", 0.55),
    Line(
        "rms",
        "I opened it on Tuesday, and it was full of dirt. The river was very high after the storm.",
        0.7,
    ),
    Line(
        "slt",
        "I am not surprised. A lot of people have had the same problem this year.",
        0.4,
    ),
    Line("rms", "My neighbor told me to buy a filter. How much does a good one cost?", 0.6),
    Line("slt", "They are not very expensive. You can buy a good one for thirty dollars.", 0.8),
    Line(
        "rms",
        "I do not want to spend that much money. Is it possible to build one at home?",
        0.35,
    ),
    Line("slt", "All you need is a plastic box and some small pieces of stone.", 0.5),
    Line("rms", "That is a very good idea. I will build one on Saturday with my son.", 0.65),
    Line(
        "slt",
        "I would be very interested to see the result. You can call me at any time.",
        0.45,
    ),
)

PANEL = (
    Line(
        "awb",
        "Welcome to the program. Tonight we will talk about the old bridge, and the question is "
        "very simple. Should we build a new one?",
    ),
    Line(
        "slt",
        "I think we should keep the old bridge. It is still strong, and we would save half of the "
        "money.",
        0.5,
    ),
    Line(
        "kal16",
        "I do not agree. The old bridge is too small for two cars at the same time.",
        -0.7,
    ),
    Line(
        "rms",
        "My farm is on the other side of the river. When the bridge is closed, I have to drive an "
        "extra twenty miles every day.",
        0.6,
    ),
    Line("awb", "So for your family, the time is more important than the money.", 0.4),
    Line(
        "slt",
        "Nobody wants to close it for a long time. We can repair one side first, and keep the "
        "other side open for cars.",
        0.5,
    ),
    Line(
        "kal16",
        "But it would take three years to finish, and that is too long for most people.",
        -1.0,
    ),
    Line(
        "awb",
        "Thank you all for coming. The city will make a decision at the end of October.",
        0.6,
    ),
)

NARRATION = (
    Line(
        "awb",
        "For more than a thousand years, people have looked at the stars to find their way across "
        "the ocean.",
        1.6,
    ),
)

CALL = (
    Line("kal16", "Good morning, and thank you for calling the railroad company."),
    Line("rms", "Good morning. I lost a black bag on the early train from the airport.", 0.5),
    Line("kal16", "I will look for it today. I need to know your telephone number.", 0.7),
    Line("rms", "My telephone number is five five five, zero one four two.", 0.6),
)

MANDARIN = (
    Line(
        MANDARIN_VOICE,
        "春天来了，山上的雪慢慢变成水，流进村子旁边的小河。老人说，有了这些水，秋天大家才有饭吃。",
    ),
)

TORN = (
    Line("rms", "First you mix everything in a large bowl, and then you wait for an hour."),
    Line("rms", "Then you put it in a cold room, and you wait until the next morning.", 0.6),
    Line("rms", "In the morning, you put it in a hot oven for about forty minutes.", 0.6),
)
