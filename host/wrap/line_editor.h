/* SPDX-License-Identifier: MIT */
/* One edited line on the terminal (stdin and stdout), drawn by libedit; the
 * only unit that includes its header. It neither reads nor waits. The caller
 * reads the terminal, splits its bytes into keys (line_editor_key) and passes
 * those that edit (line_editor_feed), so that the loop runs while somebody
 * types. It must not pass keys whose commands in libedit read more keys (quoted
 * insert, search, extended command).
 *
 * Between line_editor_begin and line_editor_end the terminal is in its editing
 * mode, in which ^C and ^Z are keys and not signals. Outside, the terminal is
 * as it was found. Text is UTF-8, also in the locale "C". [loop] */
#ifndef MF_LINE_EDITOR_H
#define MF_LINE_EDITOR_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct line_editor;

/* NULL and `e` if stdin or stdout is not a terminal. */
struct line_editor *line_editor_new(struct err *e);
/* Leaves the terminal as it was found. Accepts NULL. */
void line_editor_free(struct line_editor *ed);

/* Shows the prompt and an empty line. Escape sequences in the prompt stand
 * between two bytes \1. Does nothing while a line is edited. 0 or -1. */
int line_editor_begin(struct line_editor *ed, const char *prompt,
                      struct err *e);
/* Moves below the line and restores the terminal. Idempotent. */
void line_editor_end(struct line_editor *ed);
bool line_editor_active(const struct line_editor *ed);

/* ---- between line_editor_begin and line_editor_end ---- */

/* Passes the bytes of one key. */
void line_editor_feed(struct line_editor *ed, const char *bytes, size_t n);
/* Replaces the line; `cursor` is the number of bytes before the cursor. Invalid
 * UTF-8 and control characters except line feed and tab become "?". */
void line_editor_set(struct line_editor *ed, const char *text, size_t n,
                     size_t cursor);
/* Appends the line to `out`; `cursor` as above. 0, or -1 if out of memory. */
int line_editor_text(struct line_editor *ed, struct buf *out, size_t *cursor);
int line_editor_prompt(struct line_editor *ed, const char *prompt,
                       struct err *e);
/* Writes whole lines above the line. */
void line_editor_print(struct line_editor *ed, const char *bytes, size_t n);
/* Redraws after a change of size, or after others used the terminal (`taken`).
 */
void line_editor_redraw(struct line_editor *ed, bool taken);
/* Stops the process group as ^Z does; returns when it continues. */
void line_editor_suspend(struct line_editor *ed);

/* ---- keys: line_editor_key.c ---- */

enum line_editor_kind { LINE_EDITOR_KEY, LINE_EDITOR_PASTE };

/* The length of the first key in the bytes of a terminal: a character, a
 * control byte, an escape sequence, or a whole bracketed paste, whose text is
 * then at `from` and `len` bytes long. 0: more bytes are needed. `complete`: no
 * more bytes are coming, so that a lone ESC is a key. */
size_t line_editor_key(const char *bytes, size_t n, bool complete,
                       enum line_editor_kind *kind, size_t *from, size_t *len);

#endif
