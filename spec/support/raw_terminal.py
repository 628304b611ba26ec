# SPDX-License-Identifier: MIT
# raw_terminal.py COMMAND...: runs the command with a terminal without output processing as its
# standard output, and copies what it writes there, as `srun --unbuffered` of Slurm does.
import os
import pty
import subprocess
import sys
import termios

ours, theirs = pty.openpty()
mode = termios.tcgetattr(theirs)
mode[1] &= ~termios.OPOST
termios.tcsetattr(theirs, termios.TCSANOW, mode)
child = subprocess.Popen(sys.argv[1:], stdout=theirs)
os.close(theirs)
while True:
    try:
        data = os.read(ours, 65536)
    except OSError:  # the last writer has gone
        break
    while data:
        data = data[os.write(1, data):]
sys.exit(child.wait())
