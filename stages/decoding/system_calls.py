"""A filter that leaves a process the system calls of a decoder and no others (seccomp).

A list of what is allowed, because that of what is harmful never ends: no file is opened, no socket
made, no process started, nobody else signalled. What is not on it fails with EPERM. It may write to
a place in an open file, which pipes and terminals do not have.
"""

import ctypes
import os
import platform
import struct

_ALLOWED = {
    # name: number on x86_64, number on aarch64
    "read": (0, 63),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "fcntl": (72, 25),
    "close": (3, 57),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "getrandom": (318, 278),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_TGKILL, _PRLIMIT = (234, 131), (302, 261)
_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # as in linux/audit.h

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: ld word, jeq constant, ret
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data
_ALLOW, _KILL, _REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0001  # errno 1: EPERM
_PR_SET_SECCOMP, _FILTER = 22, 2

_Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true, if false, constant."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def allow_only_decoding() -> bool:
    """Sets the filter for the rest of this process' life; False where the kernel has none.

    Wants one thread and `PR_SET_NO_NEW_PRIVS`.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    instructions = _program(machine)
    content = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), content)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(machine: str) -> list[_Instruction]:
    column = list(_ARCHITECTURES).index(machine)
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for numbers in _ALLOWED.values():
        program += [(_JUMP_IF_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    # It may signal itself, as abort() does, and set its own limits: 0 is the caller.
    for numbers, argument in ((_TGKILL, os.getpid()), (_PRLIMIT, 0)):
        program += [
            (_JUMP_IF_EQUAL, 0, 4, numbers[column]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),  # the low half; the kernel takes an int
            (_JUMP_IF_EQUAL, 0, 1, argument),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    return [*program, (_RETURN, 0, 0, _REFUSE)]
