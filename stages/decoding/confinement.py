"""What a process may take and reach that reads the bytes of strangers. Linux only."""

import ctypes
import math
import os
import resource
import signal
import time

from stages.decoding.system_calls import allow_only_decoding

ADDRESS_SPACE_BYTES = 2 << 30
"""Python, NumPy and FFmpeg reserve 0.2 GB of it. Decoded samples do not count: they stand in memory
that the receiver made, and are never mapped in here."""
_MOST_FILES = 64
_NOBODY = 65_534
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x2008_0522
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000


def die_with(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent is gone, also if that is so already.

    Linux means the thread that started it: when that one ends, the process ends too.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def limit_resources() -> None:
    """Bounds memory and descriptors for good, and the rest until `limit_work`."""
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES)
    _soft_limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def limit_work(cpu_s: float, file_bytes: int) -> None:
    """Bounds one file: what is written, and by SIGXCPU how many more CPU seconds it takes."""
    _soft_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_s))
    _soft_limit(resource.RLIMIT_FSIZE, file_bytes)


def shut_in(parent_pid: int) -> dict[str, bool]:
    """Gives up all that decoding does not need; says what held, because kernels and containers
    differ: `own_network` (a namespace without devices), `unprivileged`, `few_system_calls`.

    Everything must be imported by now: after it not even a file can be opened.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    own_network = _unshare(_CLONE_NEWNET)  # needs privileges that the next line gives up
    unprivileged = _become_nobody()
    own_network = own_network or _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    _drop_capabilities()
    # No process or thread more. For root it says nothing, therefore nobody before.
    _limit(resource.RLIMIT_NPROC, 0)
    die_with(parent_pid)  # again, because a change of user makes the kernel forget it
    return {
        "own_network": own_network,
        "unprivileged": unprivileged,
        "few_system_calls": allow_only_decoding(),
    }


def _become_nobody() -> bool:
    """Where this process is root, because then no limit would bind it."""
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    return True


def _drop_capabilities() -> None:
    """A user namespace gives all of them anew; a root that could not become nobody has some."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0 is the caller
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _limit(what: int, value: int) -> None:
    _soft_limit(what, value)
    resource.setrlimit(what, (resource.getrlimit(what)[0],) * 2)


def _soft_limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, hard))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _unshare(flags: int) -> bool:
    return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)
