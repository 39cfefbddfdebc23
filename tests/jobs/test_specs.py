"""The committed specs: every one parses, and every parameter in it exists."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jobs.tokenizer_train import load_train_spec
from jobs.training_run import load_spec
from model.training.samples import check_tasks
from model.training.spec import TrainSpec
from pipeline.assemble import assemble
from pipeline.spec_file import load_job
from stages.registry import stage_class
from tokenizer.bundled import FOLDER
from tokenizer.spec import TokenizerSpec

JOBS = Path(__file__).resolve().parents[2] / "jobs"
TOKENIZERS = [JOBS / "tokenizer-small.yaml", JOBS / "tokenizer-small-further.yaml"]
MODELS = [*sorted(JOBS.glob("pretrain-*.yaml")), JOBS / "posttrain.yaml"]
SPECS = sorted(set(JOBS.glob("*.yaml")) - {*TOKENIZERS, *MODELS})


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_a_committed_spec_parses_and_its_parameters_exist(path: Path) -> None:
    spec = load_job(path)
    for label, raw in spec.stages.items():
        parameters = dict(raw)
        cls = stage_class(label.partition("@")[0], parameters.pop("engine", None))
        cls.Spec.model_validate(parameters)


@pytest.mark.parametrize("path", TOKENIZERS, ids=lambda path: path.name)
def test_the_training_specs_ask_for_what_the_bundled_tokenizer_is(path: Path) -> None:
    network = TokenizerSpec.from_config(load_train_spec(path).model, "model")
    bundled = TokenizerSpec.read(FOLDER / "config.json")
    # When entries are replaced is a matter of training.
    assert replace(network, dead_code_threshold=bundled.dead_code_threshold) == bundled


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_recipes_of_the_language_model_parse_and_name_tasks_that_there_are(path: Path) -> None:
    spec = load_spec(path, [], TrainSpec)
    assert spec.name == path.stem
    for source in spec.data.sources:
        check_tasks(source.tasks)


def test_the_demo_runs_on_a_fresh_machine_and_uses_every_embedded_stage() -> None:
    job = assemble(load_job(JOBS / "demo.yaml"))
    assert [named.label for named in job.stages] == [
        *("decode", "normalize", "fingerprint", "duplicates", "vad", "diarize", "segment"),
        *("quality", "mos", "asr", "text_quality", "caption", "safety", "filter"),
    ]
    assert all(named.stage.resources().num_gpus == 0 for named in job.stages)


def test_specs_name_the_schema_that_editors_check_them_with() -> None:
    for path in SPECS:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first == "# yaml-language-server: $schema=job.schema.json", path.name


def test_cluster_files_are_yaml_and_start_the_command_that_there_is() -> None:
    files = sorted((JOBS / "cluster").glob("*.yaml"))
    assert len(files) == 2
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)
        assert "--address auto" in text
