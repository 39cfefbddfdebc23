"""What the machine is: processors, memory, disks, GPU, attention kernels, packages, decoders."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from jobs.diagnosis import Finding, State

GIB = 2**30
LEAST_FREE_DISK_GIB = 5.0
"""The demo writes well under a GiB; Ray wants room to spill, and gives up on a disk 95 % full."""
LEAST_FREE_FRACTION = 0.06
LEAST_MEMORY_GIB = 4.0
"""What the demo job may take on two cores."""
_CODECS = ("mp3", "aac", "flac", "opus", "vorbis", "pcm_s24le", "alac", "wmav2", "amrnb")


def processors() -> Iterator[Finding]:
    """Python, usable CPUs and memory."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Finding(
        "Python",
        "ok" if fits else "broken",
        python,
        gives="the versions of the lock file are made for 3.11 and 3.12",
        how="make the virtual environment with one of these",
    )
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("CPUs", "ok", f"{usable} usable of {os.cpu_count()}")
    import psutil

    memory = psutil.virtual_memory()
    available_gib = memory.available / GIB
    yield Finding(
        "memory",
        "ok" if available_gib >= LEAST_MEMORY_GIB else "broken",
        f"{available_gib:.1f} GiB available of {memory.total / GIB:.1f} GiB",
        gives=f"the demo job wants {LEAST_MEMORY_GIB:g} GiB",
        how="end other programs, or set run.workers=1",
    )


def disks() -> list[Finding]:
    """Free space here, where Ray keeps its session, and in shared memory."""
    ray_folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    findings = [
        _disk("current folder", Path.cwd(), "outputs named by relative paths lie here"),
        _disk(
            "Ray's folder",
            ray_folder,
            "Ray keeps logs and spilled objects there, and stops when the disk is 95 % full",
            "free space, or name another folder in the variable RAY_TMPDIR",
        ),
    ]
    shared = Path("/dev/shm")
    if shared.is_dir():
        free_gib = shutil.disk_usage(shared).free / GIB
        findings.append(
            Finding(
                "shared memory",
                "ok" if free_gib >= 1 else "broken",
                f"{free_gib:.1f} GiB free in {shared}",
                gives="Ray passes objects through it; without it, through the slower disk",
                how="start the container with a larger one (docker run --shm-size=4g)",
            )
        )
    return findings


def _disk(name: str, folder: Path, gives: str, how: str = "free space") -> Finding:
    usage = shutil.disk_usage(folder)
    roomy = (
        usage.free >= LEAST_FREE_DISK_GIB * GIB and usage.free >= LEAST_FREE_FRACTION * usage.total
    )
    found = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} GiB ({folder})"
    return Finding(name, "ok" if roomy else "broken", found, gives, how)


def graphics() -> list[Finding]:
    """GPUs that torch can use."""
    import torch

    built = torch.version.cuda or "no CUDA"
    if not torch.cuda.is_available():
        return [
            Finding(
                "GPU",
                "missing",
                f"none that torch {torch.__version__} (built for CUDA {built}) can use",
                gives="production engines and the large tokenizer at useful speed; training",
                how="a machine with an NVIDIA GPU and its driver; every embedded engine runs on "
                "CPUs",
            )
        ]
    findings = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        findings.append(
            Finding(
                f"GPU {index}",
                "ok",
                f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, compute capability "
                f"{properties.major}.{properties.minor}, CUDA {built}",
            )
        )
    return findings


def attention() -> list[Finding]:
    """Attention kernels, best first, and which of them would be used."""
    import torch

    has_gpu = torch.cuda.is_available()
    flash = _flash_attention(has_gpu)
    has_varlen = find_spec("torch.nn.attention.varlen") is not None
    varlen_state: State = "ok" if has_varlen and has_gpu else "missing"
    used = (
        "flash-attn"
        if flash.state == "ok"
        else "torch varlen"
        if varlen_state == "ok"
        else "torch SDPA"
    )
    return [
        flash,
        Finding(
            "torch varlen",
            varlen_state,
            ("in torch" if has_varlen else "not in this torch")
            + ("" if has_gpu else "; runs on a CUDA GPU only"),
            gives="packed sequences without padding, about as fast as flash-attn",
            how="torch 2.11 and a CUDA GPU",
        ),
        Finding(
            "torch SDPA",
            "ok" if hasattr(torch.nn.functional, "scaled_dot_product_attention") else "broken",
            "in torch; runs everywhere",
        ),
        Finding("used here", "ok", used),
    ]


def _flash_attention(has_gpu: bool) -> Finding:
    gives = "the fastest kernel for packed sequences on GPUs of the Hopper class and newer"
    how = "pip install 'audiomill[flash]': a source build of hours that wants the CUDA toolkit"
    if find_spec("flash_attn") is None:
        return Finding("flash-attn", "missing", "not installed", gives, how)
    if not has_gpu:
        return Finding("flash-attn", "missing", "installed; runs on a CUDA GPU only", gives, how)
    import flash_attn

    return Finding("flash-attn", "ok", flash_attn.__version__)


def decoders() -> list[Finding]:
    """The FFmpeg that PyAV carries."""
    import av
    from av.codec import codecs_available

    absent = [name for name in _CODECS if name not in codecs_available]
    return [
        Finding("FFmpeg", "ok", f"{av.ffmpeg_version_info}, carried by PyAV {av.__version__}"),
        Finding(
            "codecs",
            "broken" if absent else "ok",
            f"{len(codecs_available)}, without {', '.join(absent)}"
            if absent
            else f"{len(codecs_available)}, among them {', '.join(_CODECS)}",
            gives="inputs in these codecs fail with UNSUPPORTED_CODEC",
            how="install PyAV from its wheel, which carries a full FFmpeg",
        ),
        Finding(
            "Opus encoder",
            "ok" if "libopus" in codecs_available else "missing",
            "libopus" if "libopus" in codecs_available else "no libopus",
            gives="players in the report",
            how="install PyAV from its wheel",
        ),
    ]


def packages() -> list[Finding]:
    """Every package that audiomill asks for, with the version that is installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("audiomill") or []]
    except PackageNotFoundError:
        return [
            Finding(
                "audiomill",
                "missing",
                "not installed as a package, so the versions it asks for are not known here",
                gives="the command `audiomill`",
                how="pip install -e . in the checkout, or make demo",
            )
        ]
    findings = [Finding("audiomill", "ok", version("audiomill"))]
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        asked = f"{requirement.name}{requirement.specifier}"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            findings.append(
                Finding(
                    requirement.name, "missing", f"wanted {asked}", how=f"pip install '{asked}'"
                )
            )
            continue
        fits = requirement.specifier.contains(installed, prereleases=True)
        found = installed if fits else f"{installed}, wanted {requirement.specifier}"
        findings.append(
            Finding(
                requirement.name,
                "ok" if fits else "broken",
                found,
                how=f"pip install '{asked}'",
            )
        )
    return findings


def ray() -> Finding:
    """Ray, and the cluster that the environment names."""
    address = os.environ.get("RAY_ADDRESS")
    where = f"cluster {address} (RAY_ADDRESS)" if address else "starts on this machine by itself"
    return Finding("Ray", "ok", f"{version('ray')}; {where}")


def models() -> list[Finding]:
    """Model folders in the Hugging Face cache, where engines find models that are named by id."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    names = sorted(
        entry.name.removeprefix("models--").replace("--", "/") for entry in cache.glob("models--*")
    )
    return [
        Finding(
            "model cache",
            "ok" if names else "missing",
            f"{', '.join(names)} in {cache}" if names else f"nothing in {cache}",
            gives="production engines (Whisper, pyannote) without a folder to name; the embedded "
            "engines carry their models",
            how="nothing is fetched behind your back: put a model's folder on this machine and "
            "name it, for example stages.asr.model=FOLDER",
        )
    ]
