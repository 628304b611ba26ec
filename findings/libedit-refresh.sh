#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that waits for keys itself (EL_UNBUFFERED) and has something to print meanwhile needs
# the line being edited drawn anew. EL_REFRESH is there for it, and the manual has it go to the
# terminal's next line. It goes to no other line, nor to the beginning of this one: libedit takes
# the cursor to be in column 0, wherever it is, and draws there. Used amid a line, it draws prompt
# and text a second time, to the right of the first. The command ed-redisplay, bound to ^R in the
# same program, does return to the beginning. Before EL_REFRESH a program has to send "\r" itself.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
version=3.1-20221030-2
apt-get -qq -o APT::Sandbox::User=root download "libedit2=$version" "libedit-dev=$version" \
  libbsd0=0.11.7-2 libmd0=1.0.4-2 libtinfo6=6.4-4
for package in *.deb; do dpkg -x "$package" root; done
lib=$PWD/$(dirname "$(find root/usr -name 'libedit.so.2')")
tinfo=$PWD/$(dirname "$(find root -name 'libtinfo.so.6')")

cat >edit.c <<'C'
#include <histedit.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *keys;

static char *prompt(EditLine *el)
{
  (void)el;
  return "> ";
}

static int next_key(EditLine *el, wchar_t *key)
{
  (void)el;
  if (!*keys) return 0;
  *key = (unsigned char)*keys++;
  return 1;
}

static void type(EditLine *el, const char *text)
{
  int count;
  for (keys = text; *keys;) el_gets(el, &count);
}

int main(int argc, char **argv)
{
  struct winsize size = { 24, 80, 0, 0 };
  int terminal;
  if (argc < 2) return 1;
  if (forkpty(&terminal, NULL, NULL, &size) == 0) {
    EditLine *el = el_init("edit", stdin, stdout, stderr);
    el_set(el, EL_PROMPT, prompt);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_UNBUFFERED, 1);
    el_set(el, EL_BIND, "^R", "ed-redisplay", NULL);
    el_set(el, EL_GETCFN, next_key);
    type(el, "abc");
    if (*argv[1] == 'r')
      el_set(el, EL_REFRESH);
    else
      type(el, "\022");
    fflush(stdout);
    _exit(0);
  }
  char c;
  while (read(terminal, &c, 1) == 1) {
    if (c == '\r') fputs("<CR>", stdout);
    else if (c == '\n') fputs("<LF>", stdout);
    else if (c == '\033') fputs("<ESC>", stdout);
    else putchar(c);
  }
  return 0;
}
C
gcc -Iroot/usr/include edit.c -o edit "$lib/libedit.so.2" -Wl,-rpath-link,"$lib:$tinfo" -lutil

echo "libedit2 $version"
export TERM=vt100 LD_LIBRARY_PATH="$lib:$tinfo"
refresh=$(timeout 20 ./edit refresh)
redisplay=$(timeout 20 ./edit key)
echo "what the terminal gets when abc has been typed, then:"
echo "  EL_REFRESH:    $refresh"
echo "  ed-redisplay:  $redisplay"
case $refresh in *'> abc> abc') ;; *) echo "CHANGED: EL_REFRESH moves the cursor first"; exit 1 ;; esac
case $redisplay in *'> abc<CR>'* | *'> abc<LF>'*) ;; *) echo "CHANGED: ed-redisplay"; exit 1 ;; esac
echo "as found: EL_REFRESH draws where the cursor is; ed-redisplay leaves the line first"
