"""Text of unknown origin cannot drive a terminal, and names are short without being ambiguous."""

import pytest

from pipeline.shown_text import clean, common_folder, shown_name


def test_controls_and_bidi_overrides_go_and_the_rest_stays() -> None:
    assert (
        clean("a\x1b[31mb\u202ecod.exe\u2066\x00\x9b\n\tשלום 好 é") == "a[31mbcod.exe\n\tשלום 好 é"
    )


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        (["/in/a/x.wav", "/in/a/y.wav"], "/in/a/"),
        (["/in/a/x.wav", "/in/b/x.wav"], "/in/"),
        (["/in/ab/x.wav", "/in/a/x.wav"], "/in/"),
        (["/in/x.wav"], "/in/"),
        (["x.wav", "y/x.wav"], ""),
        (["s3://b/k/1.wav", "s3://b/l/2.wav"], "s3://b/"),
    ],
)
def test_the_common_folder_is_cut_off(uris: list[str], folder: str) -> None:
    assert common_folder(min(uris), max(uris)) == folder


def test_a_signature_in_a_uri_is_not_shown() -> None:
    assert shown_name("https://h/k/a.wav?X-Sig=secret", "https://h/") == "k/a.wav"
    assert shown_name("/in/what?.wav", "/in/") == "what?.wav"
