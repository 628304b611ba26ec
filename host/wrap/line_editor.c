/* SPDX-License-Identifier: MIT */
#include "wrap/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line_editor {
  EditLine *el;
  locale_t locale;
  bool active;
  char *prompt;
  const wchar_t *keys; /* that libedit may read */
  size_t keys_left;
};

/* Between these two, terminals mark pasted text. */
static const char paste_on[] = "\033[?2004h";
static const char paste_off[] = "\033[?2004l";

/* Erases from the beginning of the cursor's row to the end of the screen. */
static const char erase_below[] = "\r\033[J";

/* A key for redrawing everything, which no caller feeds, and a key that also
 * moves the cursor of the terminal, at once. */
enum { KEY_REDRAW = 'R' - 64, KEY_BEGINNING = 'A' - 64 };

/* libedit uses the locale of the thread. The rest of the program keeps "C". */
static locale_t enter(const struct line_editor *ed)
{
  return uselocale(ed->locale);
}

/* In the locale "C", too, terminals show UTF-8. */
static locale_t choose_locale(void)
{
  locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
  if (l && !strncmp(nl_langinfo_l(CODESET, l), "ANSI", 4)) {
    freelocale(l);
    l = (locale_t)0;
  }
  if (!l) l = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  if (!l) l = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
  return l;
}

static struct line_editor *owner(EditLine *el)
{
  void *ed = NULL;
  el_get(el, EL_CLIENTDATA, &ed);
  return ed;
}

/* Returning 0 ends a command that would read more. */
static int next_key(EditLine *el, wchar_t *to)
{
  struct line_editor *ed = owner(el);
  if (!ed->keys_left) return 0;
  *to = *ed->keys++;
  ed->keys_left--;
  return 1;
}

static char *prompt_of(EditLine *el)
{
  return owner(el)->prompt;
}

static void type(struct line_editor *ed, const wchar_t *keys, size_t n)
{
  int length;
  ed->keys = keys;
  ed->keys_left = n;
  while (ed->keys_left) el_wgets(ed->el, &length);
}

static void redraw_all(struct line_editor *ed)
{
  wchar_t key = KEY_REDRAW;
  type(ed, &key, 1);
}

/* The characters of `text`, replaced as line_editor.h describes. Turns
 * `*cursor` from bytes into characters. NULL: out of memory. */
static wchar_t *to_wide(const char *text, size_t n, size_t *cursor)
{
  wchar_t *wide = malloc((n + 1) * sizeof(*wide));
  size_t count = 0, at = 0, before = 0;
  mbstate_t state;
  memset(&state, 0, sizeof(state));
  while (wide && at < n) {
    wchar_t c;
    if (at < *cursor) before = count + 1;
    size_t used = mbrtowc(&c, text + at, n - at, &state);
    if (used == 0) used = 1; /* NUL */
    if (used > n) {          /* invalid or cut off */
      memset(&state, 0, sizeof(state));
      used = 1;
      c = L'?';
    }
    if ((c < L' ' && c != L'\n' && c != L'\t') || c == 127) c = L'?';
    wide[count++] = c;
    at += used;
  }
  if (wide) wide[count] = L'\0';
  *cursor = before;
  return wide;
}

static void clear_line(EditLine *el)
{
  const LineInfoW *line = el_wline(el);
  int length = (int)(line->lastchar - line->buffer);
  el_cursor(el, length);
  el_wdeletestr(el, length);
}

static void put_line(EditLine *el, const wchar_t *text, size_t cursor)
{
  size_t length = wcslen(text);
  clear_line(el);
  if (length) el_winsertstr(el, text);
  el_cursor(el, (int)cursor - (int)length);
}

/* ---- life ---- */

struct line_editor *line_editor_new(struct err *e)
{
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
    err_set(e, "input", "stdin or stdout is not a terminal");
    return NULL;
  }
  struct line_editor *ed = calloc(1, sizeof(*ed));
  if (!ed) goto memory;
  ed->locale = choose_locale();
  ed->prompt = strdup("");
  if (!ed->prompt || !ed->locale) goto memory;
  locale_t before = enter(ed);
  ed->el = el_init("moonfleet", stdin, stdout, stderr);
  if (ed->el) {
    el_set(ed->el, EL_CLIENTDATA, ed);
    el_set(ed->el, EL_EDITOR, "emacs");
    el_set(ed->el, EL_PROMPT_ESC, prompt_of, '\1');
    el_set(ed->el, EL_GETCFN, next_key);
    el_set(ed->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(ed->el, EL_BIND, "^R", "ed-redisplay", NULL);
    /* as in every shell, unlike the defaults of libedit */
    el_set(ed->el, EL_BIND, "^D", "ed-delete-next-char", NULL);
    el_set(ed->el, EL_BIND, "^U", "vi-kill-line-prev", NULL);
    el_set(ed->el, EL_BIND, "^W", "ed-delete-prev-word", NULL);
  }
  uselocale(before);
  if (ed->el) return ed;
  err_set(e, "input", "the terminal cannot be used");
  line_editor_free(ed);
  return NULL;
memory:
  err_set(e, "memory", "out of memory");
  line_editor_free(ed);
  return NULL;
}

void line_editor_free(struct line_editor *ed)
{
  if (!ed) return;
  if (ed->el) {
    line_editor_end(ed);
    el_end(ed->el);
  }
  if (ed->locale) freelocale(ed->locale);
  free(ed->prompt);
  free(ed);
}

bool line_editor_active(const struct line_editor *ed)
{
  return ed->active;
}

static int set_prompt(struct line_editor *ed, const char *prompt, struct err *e)
{
  char *copy = strdup(prompt);
  if (!copy) return err_set(e, "memory", "out of memory");
  free(ed->prompt);
  ed->prompt = copy;
  return 0;
}

int line_editor_begin(struct line_editor *ed, const char *prompt, struct err *e)
{
  if (ed->active) return 0;
  if (set_prompt(ed, prompt, e) < 0) return -1;
  locale_t before = enter(ed);
  fputs(paste_on, stdout);
  el_set(ed->el, EL_UNBUFFERED, 1);
  uselocale(before);
  ed->active = true;
  return 0;
}

void line_editor_end(struct line_editor *ed)
{
  if (!ed->active) return;
  locale_t before = enter(ed);
  wchar_t key = L'\n';
  type(ed, &key, 1);
  el_set(ed->el, EL_UNBUFFERED, 0);
  fputs(paste_off, stdout);
  fflush(stdout);
  uselocale(before);
  ed->active = false;
}

/* ---- while a line is edited ---- */

void line_editor_feed(struct line_editor *ed, const char *bytes, size_t n)
{
  wchar_t keys[16];
  size_t count = 0, at = 0;
  mbstate_t state;
  memset(&state, 0, sizeof(state));
  locale_t before = enter(ed);
  while (at < n && count < sizeof(keys) / sizeof(*keys)) {
    size_t used = mbrtowc(&keys[count], bytes + at, n - at, &state);
    if (used == 0 || used > n) break; /* not a character */
    at += used;
    count++;
  }
  type(ed, keys, count);
  uselocale(before);
}

void line_editor_set(struct line_editor *ed, const char *text, size_t n,
                     size_t cursor)
{
  locale_t before = enter(ed);
  wchar_t *wide = to_wide(text, n, &cursor);
  if (wide) put_line(ed->el, wide, cursor);
  redraw_all(ed);
  uselocale(before);
  free(wide);
}

int line_editor_text(struct line_editor *ed, struct buf *out, size_t *cursor)
{
  locale_t before = enter(ed);
  const LineInfoW *line = el_wline(ed->el);
  mbstate_t state;
  size_t start = out->len;
  memset(&state, 0, sizeof(state));
  *cursor = 0;
  for (const wchar_t *c = line->buffer; c < line->lastchar; c++) {
    char bytes[MB_LEN_MAX];
    size_t n = wcrtomb(bytes, *c, &state);
    if (n != (size_t)-1) buf_add(out, bytes, n);
    if (c + 1 == line->cursor) *cursor = out->len - start;
  }
  uselocale(before);
  return out->failed ? -1 : 0;
}

int line_editor_prompt(struct line_editor *ed, const char *prompt,
                       struct err *e)
{
  if (set_prompt(ed, prompt, e) < 0) return -1;
  locale_t before = enter(ed);
  redraw_all(ed);
  uselocale(before);
  return 0;
}

/* The newest releases of libedit erase a line of several rows only in part.
 * Therefore everything from the beginning of the line is erased here, and
 * libedit redraws on a terminal that it takes for empty. */
void line_editor_print(struct line_editor *ed, const char *bytes, size_t n)
{
  locale_t before = enter(ed);
  const LineInfoW *line = el_wline(ed->el);
  int cursor = (int)(line->cursor - line->buffer);
  wchar_t key = KEY_BEGINNING;
  type(ed, &key, 1);
  fputs(erase_below, stdout);
  fwrite(bytes, 1, n, stdout);
  el_resize(ed->el);
  el_cursor(ed->el, cursor);
  el_set(ed->el, EL_REFRESH);
  uselocale(before);
}

void line_editor_redraw(struct line_editor *ed, bool taken)
{
  locale_t before = enter(ed);
  if (taken) { /* libedit assumes that the terminal is unchanged */
    el_set(ed->el, EL_PREP_TERM, 0);
    el_set(ed->el, EL_PREP_TERM, 1);
    fputs(paste_on, stdout);
  }
  el_resize(ed->el);
  fputs(erase_below, stdout);
  el_set(ed->el, EL_REFRESH);
  uselocale(before);
}

void line_editor_suspend(struct line_editor *ed)
{
  locale_t before = enter(ed);
  el_set(ed->el, EL_PREP_TERM, 0);
  fputs(paste_off, stdout);
  fputs("\r\n", stdout);
  fflush(stdout);
  kill(0, SIGTSTP);
  uselocale(before);
  line_editor_redraw(ed, true);
}
