"""Transcripts and names that are programs for a browser: the page on disk shows them as text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.files import write_text
from pipeline.manifest import Manifest
from pipeline.references import Reference
from pipeline.report import write_report
from pipeline.score import score_manifest
from tests.pipeline.manifest_rows import failure, recording, run, segment, turn

MARK = "xq7731"
ATTACKS = (
    f"<img src={MARK} onerror=alert(1)>",
    f"</script><script>{MARK}()</script>",
    f"</style><style>@import '//{MARK}'</style>",
    f"</blockquote><svg onload={MARK}()>",
    f'" onmouseover="{MARK}()',
    f"' autofocus onfocus='{MARK}()",
    f"</title><meta http-equiv=refresh content='0;url=//{MARK}'>",
    f"<!-- {MARK} --><base href=//{MARK}>",
    f"<iframe srcdoc='<script>{MARK}()</script>'>",
    f"javascript:{MARK}()",
    f"&lt;script&gt;{MARK}()&lt;/script&gt;",
    f"{{{{ ''.__class__.__mro__ }}}} {{% import 'os' %}} {MARK}",
    f"\u202e{MARK} gpj.exe\u2066 \u200f\x1b[31m\x00",
    f'=HYPERLINK("//{MARK}")',
)


class Page(HTMLParser):
    """Elements of a page and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("!--", {}))


def page_with(out: Path, attack: str) -> str:
    """The page of an output in which every text that comes from elsewhere is an attack."""
    uri = f"/in/{attack}.wav".replace("\x00", "")
    text = attack.replace("\x00", "")
    segments = [
        segment(
            uri,
            start,
            start + 2,
            text,
            speaker=text,
            asr_language=text,
            language=text,
            caption_voice_en=text,
            caption_voice_zh=text,
            asr_flags=[text],
            safety_flags=[text],
            pii_kinds=[text],
            quality_engine=text,
            verdict=verdict,
            reason=None if verdict == "kept" else text,
        )
        for start, verdict in ((0, "kept"), (4, "dropped"))
    ]
    stage = {"stage": text, "engine": text, "items": 1, "compute_s": 1.0}
    Manifest.create(out).commit_rows(
        "u1",
        {
            "recordings": [recording(uri), recording(f"{uri}2", outcome="failed", reason=text)],
            "segments": segments,
            "turns": [turn(uri, 0, 0, 2, text)],
            "failures": [failure(f"{uri}2", text, text, text, traceback=text)],
            "runs": [run("1", [stage], ending=text, workers_replaced=0, workers_recycled=0)],
        },
    )
    with Manifest(out).connect() as db:
        score = score_manifest(db, {uri: Reference(text, None, text), f"{uri}3": Reference(text)})
        path = write_report(db, out, job_name=text, score=score, clip=lambda row: b"OggS" + b"<")
    write_text(out / "scores.json", json.dumps(score.to_json()))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(page_with(tmp_path_factory.mktemp("harmless") / "out", "a quiet sentence"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_adds_no_element_and_no_attribute(
    tmp_path: Path, harmless: Page, attack: str
) -> None:
    html = page_with(tmp_path / "out", attack)
    page = Page(html)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert [set(attrs) for _, attrs in page.elements] == [set(a) for _, a in harmless.elements]
    assert not any(MARK in str(attrs) for _, attrs in page.elements)
    assert page.text.count(MARK) >= 15
    assert not re.search(rf"<[^>]*{MARK}", html)
    assert not set(html) & set("\u202e\u2066\u200f\x1b\x00")
    assert "__class__" not in page.text or "{{ ''.__class__.__mro__ }}" in page.text


def test_the_page_can_load_run_and_send_nothing(tmp_path: Path) -> None:
    page = Page(page_with(tmp_path / "out", "words"))
    (policy,) = [attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert not {"script-src", "connect-src", "frame-src"} & rules.keys()
    assert rules["img-src"] == rules["media-src"] == "data:"
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "a", "img"}
    place = [tag for tag, _ in page.elements].index
    assert place("meta") < place("style"), "the policy stands before what it rules"
