"""A Python that has the other loaders, in a virtual environment of its own.

mosaicml-streaming wants an older numpy and transformers than audiomill has, and works with ours:
so the peers see our packages, and what they pin of them is overridden.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.machine import ROOT

PINS = ("webdataset==1.0.2", "mosaicml-streaming==0.13.0", "litdata==0.2.76")
FOLDER = ROOT / "build" / "loader-peers"
_OURS = ("torch", "transformers", "numpy", "matplotlib")
_TORCHVISION = "torchvision==0.26.0"  # the one that goes with torch 2.11


def python_with_peers() -> Path:
    """The environment's Python, made with uv where it is not there yet (about 100 MB)."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / ".complete").exists():
        print(f"setting up {', '.join(PINS)} in {FOLDER}", file=sys.stderr)
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER))
        with tempfile.TemporaryDirectory() as folder:
            overrides = Path(folder) / "overrides.txt"
            ours = [f"{name} ; python_version < '3'" for name in _OURS]
            overrides.write_text("\n".join([*ours, _TORCHVISION]))
            _uv(
                *("pip", "install", "--quiet", "--python", str(python)),
                *("--override", str(overrides), *PINS),
            )
        # Behind the peers' own packages on the path, so that theirs come first.
        site = FOLDER / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        (site / "audiomill.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (FOLDER / ".complete").touch()
    return python


def _uv(*arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True, env=environment)
