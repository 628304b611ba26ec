#!/bin/sh
# SPDX-License-Identifier: MIT
# Slurm's srun connects a task's output by a pipe unless it is called with --unbuffered; its manual
# page explains what then arrives late by the buffer of the task's C library. But bytes that a task
# has written with write(2), which has no such buffer, are held back as well: slurmstepd reads them
# and sends them on when there is a newline, when there are 2,048, or when the task ends. A program
# that asks a question and waits for the answer, or that speaks a binary protocol over srun, waits
# for ever. With --unbuffered the output is a pseudo terminal, and the same bytes arrive at once.
# (Slurm asks that terminal for no output processing, so bytes pass unchanged.)
# Needs root: slurmd does. Everything listens on loopback.
set -eu
dir=$(mktemp -d)
end() {
  for pid in "$dir"/*.pid; do [ ! -e "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true; done
  sleep 1
  rm -rf "$dir"
}
trap end EXIT
chmod 755 "$dir"
cd "$dir"
version=22.05.8-4+deb12u3
apt-get -qq -o APT::Sandbox::User=root download "slurmctld=$version" "slurmd=$version" \
  "slurm-client=$version" "slurm-wlm-basic-plugins=$version" munge=0.5.15-2+deb12u1 \
  libmunge2=0.5.15-2+deb12u1 libhwloc15=2.9.0-1
for package in *.deb; do dpkg -x "$package" files; done
chown -R 0:0 files
lib=$dir/files/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$lib:$lib/slurm-wlm" SLURM_CONF="$dir/slurm.conf"
sbin=$dir/files/usr/sbin
host=$(hostname -s)
mkdir state spool
(umask 077 && head -c 1024 /dev/urandom >key)
cat >slurm.conf <<CONF
ClusterName=finding
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$dir/munge
PluginDir=$lib/slurm-wlm
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
"$sbin/munged" --force --socket "$dir/munge" --key-file "$dir/key" --pid-file "$dir/munged.pid" \
  --log-file "$dir/munged.log" --seed-file "$dir/seed" 2>/dev/null
"$sbin/slurmctld-wlm"
"$sbin/slurmd-wlm" -d "$sbin/slurmstepd-wlm"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  ! "$dir/files/usr/bin/sinfo" -h -o %t 2>/dev/null | grep -qx idle || break
  sleep 1
done

# Writes a question without a newline, then waits as if for an answer.
cat >ask.py <<'PY'
import os, time
os.write(1, b"question? ")
time.sleep(3)
PY
# The first bytes of a command's output, and after how many seconds they came.
cat >first.py <<'PY'
import os, subprocess, sys, time
task = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
start = time.time()
data = os.read(task.stdout.fileno(), 100)
print("%d %r" % (time.time() - start, data))
task.stdin.close()
task.wait()
PY
piped=$(python3 first.py "$dir/files/usr/bin/srun" -n1 python3 "$dir/ask.py")
terminal=$(python3 first.py "$dir/files/usr/bin/srun" --unbuffered -n1 python3 "$dir/ask.py")
echo "slurm $version; a task writes 10 bytes by write(2) and goes on for 3 s"
echo "srun:               seconds until they arrive, and they: $piped"
echo "srun --unbuffered:  seconds until they arrive, and they: $terminal"
echo "expected of a pipe: at once, since no buffer of the C library is involved"
[ "${terminal% *}" = "0 b'question?" ] && case $piped in [2-9]*) exit 0 ;; esac
echo "the behaviour has changed"
exit 1
