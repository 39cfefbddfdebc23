"""The endpoint client against a real server: answers, faults, cache, and a key that never leaks."""

import logging
import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from schemas.errors import EngineMissingError, ItemError, SpecError, StorageError
from schemas.verdict import Verdict
from stages.base import Segment
from stages.endpoint_client import Answer, EndpointClient, EndpointSpec, Question
from stages.endpoint_stage import EndpointStage
from tests.stages.endpoint_server import KEY, KEY_ENV, Reply, loopback, said


class Score(Answer):
    score: float


def ask(text: str) -> Question[Score]:
    return Question("Rate the text.", {"text": text}, Score)


@contextmanager
def client_of(base_url: str, **spec: Any) -> Iterator[EndpointClient]:
    client = EndpointClient(
        EndpointSpec.model_validate({"base_url": base_url, "model": "m", "backoff_s": 0.0} | spec)
    )
    try:
        yield client
    finally:
        client.close()


def fail(client: EndpointClient, text: str = "a") -> ItemError:
    with pytest.raises(ItemError) as caught:
        client.ask_all([ask(text)])
    assert caught.value.error_class == "ENDPOINT_ERROR"
    return caught.value


def test_a_good_answer_is_typed_and_the_request_states_its_schema() -> None:
    with loopback(said({"score": 3.5})) as endpoint, client_of(endpoint.base_url) as client:
        assert client.ask_all([ask("hello")]) == [Score(score=3.5)]
    (request,) = endpoint.requests
    assert endpoint.paths == ["/v1/chat/completions"]
    assert request["model"] == "m"
    assert request["temperature"] == 0
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["score"]
    assert schema["additionalProperties"] is False
    assert endpoint.material() == {"text": "hello"}
    assert "authorization" not in {name.lower() for name in endpoint.headers[0]}


def test_answers_come_in_the_order_of_the_questions() -> None:
    def echo(request: dict[str, Any]) -> Reply:
        number = float(request["messages"][1]["content"].strip('{}"').rsplit('"', 1)[1])
        return Reply(200, said({"score": number}).body, wait_s=0.05 if number % 2 else 0.0)

    with loopback(echo) as endpoint, client_of(endpoint.base_url, max_in_flight=4) as client:
        answers = client.ask_all([ask(str(number)) for number in range(10)])
    assert [answer.score for answer in answers] == list(range(10))
    assert 1 < endpoint.most_in_flight <= 4


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"score": "high"}, "score: Input should be a valid number"),
        ({"score": 1, "comment": "x"}, "comment: Extra inputs are not permitted"),
        ({}, "score: Field required"),
        ("I would say three", "Invalid JSON"),
        ('```json\n{"score": 1}\n```', "Invalid JSON"),
    ],
)
def test_an_answer_out_of_schema_fails_and_is_not_kept(content: Any, told: str) -> None:
    with (
        loopback(said({"score": 1}), said(content)) as endpoint,
        client_of(endpoint.base_url) as client,
    ):
        assert told in str(fail(client))
        assert client.ask_all([ask("a")]) == [Score(score=1)]
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "reply", [Reply(200, b"<html>"), Reply(200, b'{"choices": []}'), Reply(200, b"[1]")]
)
def test_a_reply_that_is_no_completion_fails(reply: Reply) -> None:
    with loopback(reply) as endpoint, client_of(endpoint.base_url) as client:
        assert "choices[0].message.content" in str(fail(client))


def test_an_answer_cut_off_by_its_length_says_so() -> None:
    with (
        loopback(said('{"sco', finish_reason="length")) as endpoint,
        client_of(endpoint.base_url, max_answer_tokens=16) as client,
    ):
        assert "raise max_answer_tokens" in str(fail(client))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with (
        loopback(said({"score": 1}), Reply(status), Reply(status)) as endpoint,
        client_of(endpoint.base_url) as client,
    ):
        assert client.ask_all([ask("a")]) == [Score(score=1)]
    assert len(endpoint.requests) == 3


def test_attempts_are_bounded_and_the_waits_between_them_grow() -> None:
    with (
        loopback(Reply(503)) as endpoint,
        client_of(endpoint.base_url, max_attempts=3, backoff_s=0.1) as client,
    ):
        started = time.monotonic()
        assert "in 3 attempts, lastly: status 503" in str(fail(client))
        # Two waits of 0.1 and 0.2 s, each spread over half to one and a half of it.
        assert time.monotonic() - started >= 0.15
    assert len(endpoint.requests) == 3


def test_while_the_server_is_out_each_question_is_one_probe() -> None:
    with (
        loopback(said({"score": 2}), *[Reply(503)] * 4) as endpoint,
        client_of(endpoint.base_url, max_attempts=3) as client,
    ):
        fail(client, "a")
        fail(client, "b")
        assert len(endpoint.requests) == 3 + 1
        client.ask_all([ask("c")])
        endpoint.replies += [Reply(503), Reply(503)]
        assert client.ask_all([ask("d")]) == [Score(score=2)]  # it is up: three attempts again


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "api_key_env"), (404, "base_url"), (400, "JSON schema")]
)
def test_a_refusal_is_not_asked_again_and_hints_at_its_cause(status: int, hint: str) -> None:
    with loopback(Reply(status, b"no")) as endpoint, client_of(endpoint.base_url) as client:
        assert hint in str(fail(client))
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(200, said({"score": 1}).body, wait_s=0.6), Reply(200, b" " * 100, drip_s=0.05)],
    ids=["silent", "dripping"],
)
def test_a_slow_server_times_out(reply: Reply) -> None:
    with (
        loopback(said({"score": 1}), reply) as endpoint,
        client_of(endpoint.base_url, timeout_s=0.3, max_attempts=1) as client,
    ):
        started = time.monotonic()
        message = str(fail(client))
        assert time.monotonic() - started < 2
    assert "after 0.3 s" in message


def test_an_endless_answer_is_cut() -> None:
    with loopback(Reply(200, b"x" * 3_000_000)) as endpoint, client_of(endpoint.base_url) as client:
        assert "more than 1048576 bytes" in str(fail(client))


def test_nobody_at_the_address_is_one_clear_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}/v1", max_attempts=2) as client:
        message = str(fail(client))
    assert "in 2 attempts, lastly: ConnectError" in message
    assert "\n" not in message


def test_what_was_asked_before_makes_no_request(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with loopback(said({"score": 4})) as endpoint:
        with client_of(endpoint.base_url, cache_dir=str(folder)) as client:
            assert client.ask_all([ask("a"), ask("a")]) == [Score(score=4)] * 2
            client.ask_all([ask("a")])
        with client_of(endpoint.base_url, cache_dir=str(folder)) as another:
            assert another.ask_all([ask("a")]) == [Score(score=4)]
            assert len(endpoint.requests) == 1
            another.ask_all([ask("b")])
        with client_of(endpoint.base_url, cache_dir=str(folder), model="n") as another_model:
            another_model.ask_all([ask("a")])
    assert len(endpoint.requests) == 3
    assert len(list(folder.rglob("*.json"))) == 3
    assert not list(folder.rglob(".answer-*"))
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b'{"score":', b"\xff\xfe", b'{"other": 1}'])
def test_a_damaged_cache_file_is_asked_again_and_mended(tmp_path: Path, damage: bytes) -> None:
    with loopback(said({"score": 4})) as endpoint:
        for _ in range(2):
            with client_of(endpoint.base_url, cache_dir=str(tmp_path)) as client:
                assert client.ask_all([ask("a")]) == [Score(score=4)]
            (file,) = tmp_path.rglob("*.json")
            if len(endpoint.requests) == 1:
                file.write_bytes(damage)
    assert len(endpoint.requests) == 2
    assert file.read_text() == '{"score":4.0}'


def test_a_cache_that_cannot_be_written_is_our_failure_and_not_the_items(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache_dir"):
        EndpointClient(
            EndpointSpec(
                base_url="http://127.0.0.1:1/v1", model="m", cache_dir=str(tmp_path / "file" / "x")
            )
        )
    with (
        loopback(said({"score": 4})) as endpoint,
        client_of(endpoint.base_url, cache_dir=str(tmp_path / "c")) as client,
    ):
        (tmp_path / "c").rmdir()
        (tmp_path / "c").write_text("")
        with pytest.raises(StorageError, match="cache_dir"):
            client.ask_all([ask("a")])


def test_one_failed_question_leaves_the_others_answered() -> None:
    def moody(request: dict[str, Any]) -> Reply:
        return Reply(400) if "bad" in request["messages"][1]["content"] else said({"score": 1})

    with loopback(moody) as endpoint, client_of(endpoint.base_url) as client:
        with pytest.raises(ItemError):
            client.ask_all([ask("good"), ask("bad"), ask("fine")])
        num_requests = len(endpoint.requests)
        client.ask_all([ask("good"), ask("fine")])
        assert len(endpoint.requests) == num_requests == 3


def test_the_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    caplog.set_level(logging.DEBUG)
    echo = f"your key {KEY} is wrong".encode()
    faults = [Reply(401, echo), Reply(400, echo), Reply(200, echo), said(f"key {KEY}")]
    with (
        loopback(said({"score": 1}), *faults) as endpoint,
        client_of(endpoint.base_url, api_key_env=KEY_ENV, cache_dir=str(tmp_path)) as client,
    ):
        told = [repr(fail(client, text)) for text in "abcd"]
        client.ask_all([ask("e")])
        spec = client._spec
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    stage = Asking(spec)
    stage.open()
    everything = [*told, caplog.text, repr(spec), spec.model_dump_json(), stage.describe()]
    everything += [str(pickle.dumps(stage)), stage.fingerprint()]
    stage.close()
    everything += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    for text in everything:
        assert KEY not in text
        assert KEY[-11:] not in text


class Asking(EndpointStage):
    """The smallest stage that asks."""

    name: ClassVar[str] = "asking"
    engine: ClassVar[str] = "endpoint"
    Spec = EndpointSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset()
    speed_x_real_time: ClassVar[float] = 1.0

    def describe(self) -> str:
        return f"asking 1 model {self.spec.model}"

    def process(self, batch: list[Segment]) -> list[Verdict]:  # type: ignore[override]
        raise AssertionError("nobody asks in these tests")


def test_a_stage_without_server_or_key_is_refused_on_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    with pytest.raises(EngineMissingError, match="base_url: found none"):
        Asking(EndpointSpec(model="m"))
    url = "http://127.0.0.1:1/v1"
    with pytest.raises(EngineMissingError, match=f"{KEY_ENV} is not set"):
        Asking(EndpointSpec(model="m", base_url=url, api_key_env=KEY_ENV))
    monkeypatch.setenv(KEY_ENV, "two words")
    with pytest.raises(EngineMissingError, match="printable ASCII") as caught:
        Asking(EndpointSpec(model="m", base_url=url, api_key_env=KEY_ENV))
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000/v1", "ftp://host/v1", "http://me:pw@host/v1", "http://host/v1?key=pw", "x:["],
)
def test_an_address_that_cannot_be_meant_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SpecError, match="base_url") as caught:
        Asking(EndpointSpec(model="m", base_url=url))
    assert "pw" not in str(caught.value).replace("password", "")


def test_how_an_endpoint_is_reached_changes_no_fingerprint(tmp_path: Path) -> None:
    def fingerprint(**spec: Any) -> str:
        base = {"base_url": "http://a/v1", "model": "m"}
        return Asking(EndpointSpec.model_validate(base | spec)).fingerprint()

    assert fingerprint(base_url="http://b/v1", timeout_s=1.0, max_in_flight=1) == fingerprint()
    assert fingerprint(cache_dir=str(tmp_path), backoff_s=2.0, max_attempts=1) == fingerprint()
    assert fingerprint(model="n") != fingerprint()
    assert fingerprint(seed=1) != fingerprint()


def test_the_cache_folder_does_not_move_with_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stage = Asking(EndpointSpec(base_url="http://a/v1", model="m", cache_dir="answers"))
    assert pickle.loads(pickle.dumps(stage)).spec.cache_dir == str(tmp_path / "answers")
