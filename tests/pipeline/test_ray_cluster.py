"""A Ray that does not come up is one line."""

from typing import Any

import pytest
import ray

from pipeline.ray_cluster import start_ray
from schemas.errors import PlanError


def test_a_node_that_does_not_come_up_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**options: Any) -> None:
        raise Exception("The current node timed out during startup.\nLogs are in /tmp/ray.")

    monkeypatch.setattr(ray, "init", never)
    with pytest.raises(PlanError, match="run the same command again") as caught:
        start_ray(num_cpus=1, num_gpus=0)
    assert "timed out during startup. Logs" in str(caught.value)
    assert "\n" not in str(caught.value)
