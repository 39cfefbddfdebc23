"""The JSON Schema of job specs, for editors; `python -m jobs.spec_schema` writes it anew."""

import json
import sys
from pathlib import Path
from typing import Any

from schemas.job import JobSpec
from stages.registry import ENGINES, stage_class

SCHEMA_FILE = Path(__file__).parent / "job.schema.json"


def spec_schema() -> dict[str, Any]:
    """Schema of a whole job spec: the parameters of every stage are those of its engines."""
    schema = JobSpec.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    stages: dict[str, Any] = {}
    for stage, engines in ENGINES.items():
        options = [_engine_schema(stage, engine, definitions) for engine in engines]
        stages[stage] = {"anyOf": [*options, {"type": "null"}]}
    schema["properties"]["stages"] = {
        "type": "object",
        "description": "Stages in the order in which they run; stage@label for a second one.",
        "properties": stages,
        "patternProperties": {
            f"^{stage}@.+$": {"$ref": f"#/properties/stages/properties/{stage}"} for stage in stages
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _engine_schema(stage: str, engine: str, definitions: dict[str, Any]) -> dict[str, Any]:
    found = stage_class(stage, engine).Spec.model_json_schema()
    for name, definition in found.pop("$defs", {}).items():
        definitions.setdefault(name, definition)
    found["title"] = f"{stage}: {engine}"
    found["properties"] = {"engine": {"const": engine}, **found.get("properties", {})}
    if engine != next(iter(ENGINES[stage])):
        found["required"] = ["engine", *found.get("required", [])]
    return found


def main() -> int:
    """Writes the schema beside the specs."""
    SCHEMA_FILE.write_text(json.dumps(spec_schema(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {SCHEMA_FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
