/* SPDX-License-Identifier: MIT */
#include "lua/value_path.h"

#include <stdio.h>
#include <string.h>

enum { PATH_KEY_BYTES = 40 }; /* shown of a string key */

void path_init(struct path *p)
{
  p->at = sizeof(p->text) - 1;
  p->text[p->at] = '\0';
  p->cut = false;
}

static void add(struct path *p, const char *text, size_t len)
{
  if (len > p->at) p->cut = true;
  if (p->cut) return;
  p->at -= len;
  memcpy(p->text + p->at, text, len);
}

static bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_identifier(const char *s, size_t len)
{
  if (len == 0 || len > PATH_KEY_BYTES || !is_letter(s[0])) return false;
  for (size_t i = 1; i < len; i++)
    if (!is_letter(s[i]) && !(s[i] >= '0' && s[i] <= '9')) return false;
  return true;
}

static void add_string(struct path *p, const char *s, size_t len)
{
  char text[5 * PATH_KEY_BYTES + 16];
  size_t n = 0;
  if (is_identifier(s, len)) {
    add(p, s, len);
    add(p, ".", 1);
    return;
  }
  text[n++] = '[';
  text[n++] = '"';
  for (size_t i = 0; i < len && i < PATH_KEY_BYTES; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c < 0x20 || c == 0x7f || c >= 0x80) {
      n += (size_t)snprintf(text + n, sizeof(text) - n, "\\%03d", c);
    } else {
      if (c == '"' || c == '\\') text[n++] = '\\';
      text[n++] = s[i];
    }
  }
  const char *end = len > PATH_KEY_BYTES ? "...\"]" : "\"]";
  memcpy(text + n, end, strlen(end));
  add(p, text, n + strlen(end));
}

void path_add_index(struct path *p, lua_Integer i)
{
  char text[32];
  int n = snprintf(text, sizeof(text), "[%lld]", (long long)i);
  add(p, text, (size_t)n);
}

void path_add_key(struct path *p, lua_State *L, int idx)
{
  char text[48];
  int n;
  switch (lua_type(L, idx)) {
  case LUA_TSTRING: {
    /* a string already: lua_tolstring does not convert, so cannot raise */
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);
    add_string(p, s, len);
    return;
  }
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx)) {
      path_add_index(p, lua_tointegerx(L, idx, NULL));
      return;
    }
    n = snprintf(text, sizeof(text), "[%.14g]", lua_tonumberx(L, idx, NULL));
    break;
  case LUA_TBOOLEAN:
    n = snprintf(text, sizeof(text), "[%s]",
                 lua_toboolean(L, idx) ? "true" : "false");
    break;
  default:
    n = snprintf(text, sizeof(text), "[%s]", lua_typename(L, lua_type(L, idx)));
  }
  add(p, text, (size_t)n);
}

const char *path_text(const struct path *p, const char *root,
                      char to[PATH_SIZE])
{
  snprintf(to, PATH_SIZE, "%.32s%s%s", root, p->cut ? "..." : "",
           p->text + p->at);
  return to;
}
