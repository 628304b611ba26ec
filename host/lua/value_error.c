/* SPDX-License-Identifier: MIT */
#include "lua/value_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_KEY_BYTES = 40 }; /* shown of a string key */

int value_error_set(struct value_error *v, const char *kind, const char *format,
                    ...)
{
  va_list args;
  va_start(args, format);
  err_vset(&v->reason, kind, format, args);
  va_end(args);
  v->start = sizeof(v->path) - 1;
  v->path[v->start] = '\0';
  v->cut = false;
  return -1;
}

static int add(struct value_error *v, const char *text, size_t len)
{
  if (len > v->start) v->cut = true;
  if (v->cut) return -1;
  v->start -= len;
  memcpy(v->path + v->start, text, len);
  return -1;
}

static bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_identifier(const char *s, size_t len)
{
  if (len == 0 || len > MAX_KEY_BYTES || !is_letter(s[0])) return false;
  for (size_t i = 1; i < len; i++)
    if (!is_letter(s[i]) && !(s[i] >= '0' && s[i] <= '9')) return false;
  return true;
}

static int add_string(struct value_error *v, const char *s, size_t len)
{
  char text[5 * MAX_KEY_BYTES + 16];
  size_t n = 0;
  if (is_identifier(s, len)) {
    add(v, s, len);
    return add(v, ".", 1);
  }
  text[n++] = '[';
  text[n++] = '"';
  for (size_t i = 0; i < len && i < MAX_KEY_BYTES; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c < 0x20 || c == 0x7f || c >= 0x80) {
      n += (size_t)snprintf(text + n, sizeof(text) - n, "\\%03d", c);
    } else {
      if (c == '"' || c == '\\') text[n++] = '\\';
      text[n++] = s[i];
    }
  }
  const char *end = len > MAX_KEY_BYTES ? "...\"]" : "\"]";
  memcpy(text + n, end, strlen(end));
  return add(v, text, n + strlen(end));
}

int value_error_add_index(struct value_error *v, lua_Integer i)
{
  char text[32];
  int n = snprintf(text, sizeof(text), "[%lld]", (long long)i);
  return add(v, text, (size_t)n);
}

int value_error_add_key(struct value_error *v, lua_State *L, int idx)
{
  char text[48];
  int n;
  switch (lua_type(L, idx)) {
  case LUA_TSTRING: {
    /* a string already, so that lua_tolstring does not convert and raise */
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);
    return add_string(v, s, len);
  }
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx))
      return value_error_add_index(v, lua_tointegerx(L, idx, NULL));
    n = snprintf(text, sizeof(text), "[%.14g]", lua_tonumberx(L, idx, NULL));
    break;
  case LUA_TBOOLEAN:
    n = snprintf(text, sizeof(text), "[%s]",
                 lua_toboolean(L, idx) ? "true" : "false");
    break;
  default:
    n = snprintf(text, sizeof(text), "[%s]", lua_typename(L, lua_type(L, idx)));
  }
  return add(v, text, (size_t)n);
}

const char *value_error_path(const struct value_error *v, const char *root,
                             char to[VALUE_PATH_SIZE])
{
  snprintf(to, VALUE_PATH_SIZE, "%.32s%s%s", root, v->cut ? "..." : "",
           v->path + v->start);
  return to;
}

int value_error_report(const struct value_error *v, const char *root,
                       struct err *e)
{
  char place[VALUE_PATH_SIZE];
  return err_set(e, v->reason.kind, "%s: %s", value_error_path(v, root, place),
                 v->reason.text);
}
