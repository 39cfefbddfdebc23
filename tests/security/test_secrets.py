"""Secrets in every channel: none is taken into a spec, and none comes out of a run."""

import json
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.tokenizer_train import load_train_spec
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest
from pipeline.spec_file import load_job
from schemas.errors import SpecError
from schemas.job import InputsSpec
from schemas.manifest import TABLES
from schemas.secret_words import sounds_secret, without_secrets
from tests.security.conftest import SECRETS, Watched

SECRET = "s3cr3t-4f1d"
GOOD = "name: mine\ninputs: {uri: recordings}\noutput: out\nstages: {decode: }\n"
URIS = (
    f"https://user:{SECRET}@host/a.wav",
    f"https://{SECRET}@host/a.wav",
    f"s3://AKIA:{SECRET}@bucket/a",
    f"https://host/a.wav?X-Amz-Signature={SECRET}",
    f"https://host/a.wav?sv=1&sig={SECRET}",
    f"https://host/a.wav?access_token={SECRET}",
    f"simplecache::https://user:{SECRET}@host/a.wav",
)


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "text",
    [
        f"api_key: {SECRET}",
        f"stages: {{asr: {{hf_token: {SECRET}}}}}",
        f"stages: {{caption: {{engine: endpoint, model: m, apiKey: {SECRET}}}}}",
        f"run: {{aws: {{AWS_SECRET_ACCESS_KEY: {SECRET}}}}}",
        f"inputs: {{password: {SECRET}}}",
        f"extra: [{{client-secret: {SECRET}}}]",
        *(f"inputs: {{uri: '{uri}'}}" for uri in URIS),
        f"tokenize: {{model: 'https://u:{SECRET}@host/m'}}",
        f"stages: {{caption: {{engine: endpoint, model: m, api_key_env: '{SECRET}'}}}}",
        f"stages: {{caption: {{engine: endpoint, base_url: 'http://u:{SECRET}@h/v1', model: m}}}}",
        f"api_key: [{SECRET}",
    ],
)
def test_a_spec_holds_no_secret_and_its_refusal_repeats_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text + "\n")
    for load in (load_job, load_train_spec):
        with pytest.raises(SpecError) as caught:
            load(path)
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        f"stages.asr.api_key={SECRET}",
        f"stages.asr.api_key=[{SECRET}",
        f"stages={{asr: {{token: {SECRET}}}}}",
        *(f"inputs.uri={uri}" for uri in URIS),
        f"inputs=[https://u:{SECRET}@host",
    ],
)
def test_an_override_holds_none_either(tmp_path: Path, override: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    with pytest.raises(SpecError) as caught:
        load_job(path, [override])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", URIS)
def test_no_listing_writes_a_secret_into_its_rows(uri: str) -> None:
    with pytest.raises(SpecError) as caught:
        list_inputs(InputsSpec(uri=uri))
    assert SECRET not in str(caught.value)


def test_a_key_that_was_put_where_its_name_belongs_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        GOOD.replace(
            "{decode: }", "{decode: , caption: {engine: endpoint, model: m, api_key_env: X}}"
        )
    )
    for key in (f"sk-{SECRET}", "hf_aBcDeFgHiJkLmNoPqRsT"):
        assert main(["plan", str(path), f"stages.caption.api_key_env={key}"]) == 2
        assert key not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(
            (name, True)
            for name in ("password", "HF_TOKEN", "clientSecret", "api-key", "privateKey")
        ),
        *((name, True) for name in ("aws_secret_access_key", "X-Amz-Signature", "sig", "apikey")),
        *((name, False) for name in ("api_key_env", "token_file", "max_answer_tokens", "tokenize")),
        *((name, False) for name in ("sort_key", "key", "design", "num_codebooks", "secretary")),
    ],
)
def test_names_that_sound_secret(name: str, secret: bool) -> None:
    assert sounds_secret(name) is secret


def test_a_message_loses_what_its_urls_hold() -> None:
    text = f"GET https://u:{SECRET}@h/a?sig={SECRET} failed, then s3://b/c and 'http://h/x?y=1'"
    assert without_secrets(text) == (
        "GET https://h/a?... failed, then s3://b/c and 'http://h/x?...'"
    )


def test_no_secret_of_the_environment_is_in_anything_a_run_leaves(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["status", str(watched.out)], ["status", str(watched.out), "--json"]):
        assert main(command) == 0
    said = watched.said + capsys.readouterr().out
    manifest = Manifest(watched.out)
    rows = {name: manifest.table(name).to_pylist() for name in TABLES}
    # Parquet is packed, so the rows are looked at as rows.
    said += json.dumps(rows, default=str)
    assert any(row["error_class"] == "ENDPOINT_ERROR" for row in rows["failures"])
    for secret in SECRETS.values():
        assert secret not in said
        for path in files_below(watched.out, watched.ray, watched.home):
            assert secret.encode() not in path.read_bytes(), path


def test_no_word_that_was_spoken_is_in_a_log(watched: Watched) -> None:
    texts = Manifest(watched.out).table("segments", ["text"])["text"].to_pylist()
    spoken = [text for text in texts if text and len(text.split()) > 2]
    assert spoken
    told = [watched.out / name for name in ("log", "attempts", "workers")]
    logs = files_below(watched.ray, *told)
    assert all(any(path.is_relative_to(folder) for path in logs) for folder in told[:2])
    for text in spoken:
        assert text not in watched.said
        assert not [path for path in logs if text.encode() in path.read_bytes()]


def test_ray_keeps_no_token_at_home(watched: Watched) -> None:
    assert not (watched.home / ".ray").exists()
