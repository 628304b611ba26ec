# SPDX-License-Identifier: MIT
"""no_seccomp.py COMMAND...: runs a command as on a kernel without seccomp filters.

A filter of its own makes those calls fail as they do there. For x86, 32 bits too, and arm64.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# That of the process, not of the kernel: a 32-bit process may run on 64 bits. (asm/unistd.h)
SECCOMP, PRCTL = {
    ("x86_64", 8): (317, 157), ("x86_64", 4): (354, 172), ("i686", 4): (354, 172),
    ("aarch64", 8): (277, 167),
}[platform.machine(), struct.calcsize("P")]
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x00050000, 0x7FFF0000
NUMBER, FIRST_ARGUMENT = 0, 16

program = b"".join(struct.pack("HBBI", *step) for step in (
    (LOAD, 0, 0, NUMBER),
    (IF_EQUAL, 0, 1, SECCOMP),
    (RETURN, 0, 0, FAIL | errno.ENOSYS),
    (IF_EQUAL, 0, 3, PRCTL),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (IF_EQUAL, 0, 1, PR_SET_SECCOMP),
    (RETURN, 0, 0, FAIL | errno.EINVAL),
    (RETURN, 0, 0, ALLOW),
))
code = ctypes.create_string_buffer(program)
header = ctypes.create_string_buffer(
    struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                  (PR_SET_SECCOMP, MODE_FILTER, header, 0, 0)):
    if libc.prctl(*arguments) != 0:
        sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
