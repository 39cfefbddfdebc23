"""Asks an OpenAI-compatible endpoint for answers of a fixed schema.

One client for all stages that ask a language model: `POST {base_url}/chat/completions` with a JSON
schema, temperature 0 and a seed. Answers are validated, kept by the digest of what was asked, and
given back in order. The API key stays in an environment variable: it is in no spec, pickle, cache,
log line or message.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import EngineMissingError, ItemError, SpecError
from stages.base import StageSpec
from stages.endpoint_cache import AnswerCache

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_MAX_ANSWER_BYTES = 1 << 20
_MAX_WAIT_S = 20.0
_SHOWN_CHARACTERS = 160
_HINTS = {
    400: "the server may not take a JSON schema as response_format",
    401: "check the key in the environment variable that api_key_env names",
    403: "check the key in the environment variable that api_key_env names",
    404: "check base_url (it usually ends in /v1) and model",
    422: "the server may not take a JSON schema as response_format",
}


class EndpointSpec(StageSpec):
    """Where and what to ask."""

    base_url: str | None = None
    """For example http://127.0.0.1:8000/v1; no user, password or query in it."""
    model: str = Field(min_length=1)
    """As the server names it; part of every row's engine."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """NAME of the environment variable that holds the key, in capitals; null: no key is sent."""
    cache_dir: str | None = None
    """Folder for answers by content; null: they are kept in memory alone."""
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """For one attempt, from the first byte out to the last byte in."""
    max_attempts: int = Field(default=4, ge=1, le=20)
    """Tries of one question when the server is busy, failing or out of reach."""
    backoff_s: float = Field(default=0.5, ge=0, le=60)
    """Wait after the first failed try; it doubles with each further one, up to 20 s."""
    max_in_flight: int = Field(default=8, ge=1, le=256)
    """Requests at the same time."""
    max_answer_tokens: int = Field(default=512, ge=16, le=16_384)
    """Longest answer, in the model's tokens."""
    seed: int = Field(default=0, ge=0)
    """Handed to the server's sampler."""


OPERATIONAL = frozenset(
    {
        *("base_url", "api_key_env", "cache_dir", "timeout_s", "max_attempts", "backoff_s"),
        "max_in_flight",
    }
)
"""Fields that decide no value: the same model may answer elsewhere, sooner or later."""


class Answer(BaseModel):
    """Base of what a stage wants to hear: every field given, none besides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Question(Generic[AnswerT]):
    """What is asked. `material` is data of ours as JSON, never instructions to the model."""

    instructions: str
    material: dict[str, Any]
    answer: type[AnswerT]


def check_endpoint(spec: EndpointSpec) -> None:
    """Raises `EngineMissingError` or `SpecError` where nothing could be asked; asks nothing."""
    if not spec.base_url:
        raise EngineMissingError(
            "base_url: found none, and this engine asks an OpenAI-compatible server; start one "
            "(for example 'vllm serve MODEL') and name it, such as http://127.0.0.1:8000/v1, or "
            "use the stage's embedded engine"
        )
    try:
        parts = urlsplit(spec.base_url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web:
        raise SpecError("base_url: wanted http://HOST[:PORT]/PATH or https://...")
    if parts.username or parts.password or parts.query or parts.fragment:
        # Whatever stands there would be shown in messages and kept in the manifest.
        raise SpecError(
            "base_url: found a user, password, query or fragment in it; put the key into an "
            "environment variable and name that in api_key_env"
        )
    _key_of(spec)


class EndpointClient:
    """An open connection to the endpoint of a spec. Not picklable: made once per worker."""

    def __init__(self, spec: EndpointSpec) -> None:
        import httpx

        check_endpoint(spec)
        self._spec = spec
        self._url = f"{str(spec.base_url).rstrip('/')}/chat/completions"
        self._key = _key_of(spec)
        self._cache = AnswerCache(Path(spec.cache_dir) if spec.cache_dir else None)
        self._is_down = False
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=spec.timeout_s,
            limits=httpx.Limits(max_connections=spec.max_in_flight),
            # The spec alone says where requests go: no proxy and no .netrc of this machine.
            trust_env=False,
            follow_redirects=False,
        )
        self._threads = ThreadPoolExecutor(spec.max_in_flight, thread_name_prefix="endpoint")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def ask_all(self, questions: Sequence[Question[AnswerT]]) -> list[AnswerT]:
        """Answers in order; equal questions are asked once.

        Raises `ItemError` ENDPOINT_ERROR for the first question that got no valid answer, once all
        are through, so that the answered ones are in the cache when they are asked again.
        """
        bodies = [self._body(question) for question in questions]
        keys = [_digest(body) for body in bodies]
        asked: dict[str, Future[AnswerT]] = {}
        for key, body, question in zip(keys, bodies, questions, strict=True):
            if key not in asked:
                asked[key] = self._threads.submit(self._ask, key, body, question.answer)
        errors = [error for future in asked.values() if (error := future.exception())]
        # A failure of our own (the cache's disk) is told before one of the endpoint's.
        for error in sorted(errors, key=lambda error: isinstance(error, ItemError)):
            raise error
        return [asked[key].result() for key in keys]

    def _ask(self, key: str, body: dict[str, Any], model: type[AnswerT]) -> AnswerT:
        kept = self._cache.get(key)
        if kept is not None:
            try:
                return model.model_validate_json(kept)
            except ValidationError:
                self._cache.forget(key)  # a torn or foreign file: ask again
        content = self._content_of(self._post(key, body))
        try:
            answer = model.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise ItemError(
                "ENDPOINT_ERROR",
                f"{self._url} answered out of schema: {where}: {first['msg']}; the answer began "
                f"with {self._shown(content.encode())}. Use a model or server that keeps to a "
                "JSON schema",
            ) from None
        self._cache.put(key, answer.model_dump_json())
        return answer

    def _post(self, key: str, body: dict[str, Any]) -> bytes:
        """Body of the server's 200; raises `ItemError` once the attempts are used up."""
        # While the server is known to be out, each question is one probe and not a row of waits.
        max_attempts = 1 if self._is_down else self._spec.max_attempts
        failure = ""
        for attempt in range(1, max_attempts + 1):
            wait_s = self._wait_s(key, attempt)
            status, answer = self._try_once(body)
            if status == 200:
                self._is_down = False
                return answer
            if status is None:
                failure = answer.decode(errors="replace")
            elif status in _RETRIED:
                failure = f"status {status}"
            else:
                hint = _HINTS.get(status, "the server does not take the request")
                raise ItemError(
                    "ENDPOINT_ERROR",
                    f"{self._url} refused with status {status}{self._said(status, answer)}; {hint}",
                )
            if attempt < max_attempts:
                time.sleep(wait_s)
        self._is_down = True
        raise ItemError(
            "ENDPOINT_ERROR",
            f"{self._url} gave no answer in {max_attempts} attempts, lastly: {failure}; see that "
            "the server is up, and raise timeout_s or max_attempts if it is only slow",
        )

    def _try_once(self, body: dict[str, Any]) -> tuple[int | None, bytes]:
        """Status and body; no status, and the reason, where the exchange did not come to an end."""
        import httpx

        deadline = time.monotonic() + self._spec.timeout_s
        received = bytearray()
        try:
            with self._http.stream("POST", self._url, json=body) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > _MAX_ANSWER_BYTES:
                        raise ItemError(
                            "ENDPOINT_ERROR",
                            f"{self._url} answered with more than {_MAX_ANSWER_BYTES} bytes; this "
                            "is no answer to a question of ours",
                        )
                    # The time-out of httpx is for each read: a server that drips would hold us.
                    if time.monotonic() > deadline:
                        return None, f"no end after {self._spec.timeout_s} s".encode()
                return response.status_code, bytes(received)
        except httpx.TimeoutException:
            return None, f"no answer after {self._spec.timeout_s} s".encode()
        except httpx.HTTPError as error:
            return None, self._redacted(f"{type(error).__name__}: {error}").encode()

    def _content_of(self, answer: bytes) -> str:
        """Text of the first choice; raises `ItemError` where the reply has another shape."""
        try:
            choice = json.loads(answer)["choices"][0]
            content = choice["message"]["content"]
            finish = choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError):
            content, finish = None, None
        if finish == "length":
            raise ItemError(
                "ENDPOINT_ERROR",
                f"{self._url} stopped after {self._spec.max_answer_tokens} tokens in the middle of "
                "the answer; raise max_answer_tokens",
            )
        if not isinstance(content, str):
            raise ItemError(
                "ENDPOINT_ERROR",
                f"{self._url} answered without choices[0].message.content, which every "
                f"OpenAI-compatible server gives; it began with {self._shown(answer)}",
            )
        return content

    def _body(self, question: Question[AnswerT]) -> dict[str, Any]:
        return {
            "model": self._spec.model,
            "messages": [
                {"role": "system", "content": question.instructions},
                {"role": "user", "content": json.dumps(question.material, ensure_ascii=False)},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": question.answer.__name__,
                    "strict": True,
                    "schema": question.answer.model_json_schema(),
                },
            },
            "temperature": 0,
            "seed": self._spec.seed,
            "max_tokens": self._spec.max_answer_tokens,
        }

    def _wait_s(self, key: str, attempt: int) -> float:
        # Spread by the question, so that questions that failed together do not come back together.
        spread = 0.5 + int(key[:4], 16) / 0xFFFF
        return float(min(_MAX_WAIT_S, self._spec.backoff_s * 2 ** (attempt - 1) * spread))

    def _said(self, status: int, answer: bytes) -> str:
        # Servers like to repeat a wrong key, half masked: what they say to 401 is never shown.
        return "" if status in {401, 403} or not answer else f" ({self._shown(answer)})"

    def _shown(self, text: bytes) -> str:
        return repr(self._redacted(text.decode(errors="replace"))[:_SHOWN_CHARACTERS])

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def prompt_digest(instructions: str) -> str:
    """Eight hex digits of a prompt, so that a changed prompt changes the engine's name."""
    return hashlib.sha256(instructions.encode()).hexdigest()[:8]


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _key_of(spec: EndpointSpec) -> str | None:
    if spec.api_key_env is None:
        return None
    key = os.environ.get(spec.api_key_env, "").strip()
    if not key:
        raise EngineMissingError(
            f"api_key_env: the environment variable {spec.api_key_env} is not set here; export it "
            "where the job runs, on every machine of a cluster"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise EngineMissingError(
            f"api_key_env: what {spec.api_key_env} holds is no key: wanted printable ASCII "
            "without blanks"
        )
    return key
