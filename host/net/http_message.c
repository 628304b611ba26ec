/* SPDX-License-Identifier: MIT */
#include "net/http_message.h"

#include "net/http_token.h"

#include <string.h>
#include <strings.h>

#if defined(__has_include) && !defined(BUNDLED_HTTP_PARSER)
#if __has_include(<llhttp.h>)
#define HAVE_LLHTTP 1
#endif
#endif

#ifdef HAVE_LLHTTP
#include <llhttp.h>
typedef llhttp_t parser;
typedef llhttp_settings_t parser_settings;
#else
#include <http_parser.h>
typedef http_parser parser;
typedef http_parser_settings parser_settings;
#endif

/* Digits of a Content-Length: no body comes near 10^15 bytes. */
enum { MAX_LENGTH_DIGITS = 15 };

void http_message_init(struct http_message *m)
{
  memset(m, 0, sizeof(*m));
  buf_init(&m->head, HTTP_MAX_HEAD);
}

void http_message_clear(struct http_message *m)
{
  struct buf head = m->head;
  memset(m, 0, sizeof(*m));
  m->head = head;
  buf_clear(&m->head);
}

void http_message_free(struct http_message *m)
{
  buf_free(&m->head);
}

static bool refuse(struct http_message *m, int status, const char *why)
{
  m->state = HTTP_MESSAGE_REFUSED;
  m->status = status;
  m->why = why;
  return false;
}

/* ---- bytes ---- */

/* Checks what no parser is relied upon for: the ends of lines, and characters.
 */
static bool check_byte(struct http_message *m, uint8_t c)
{
  if ((m->last == '\r') != (c == '\n'))
    return refuse(m, 400, "A line of the head does not end with CR LF.");
  if (m->last == '\n' && (c == ' ' || c == '\t'))
    return refuse(m, 400, "A line of the head begins with a blank.");
  if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
    return refuse(m, 400, "The head has a control character.");
  m->last = c;
  return true;
}

/* ---- the parser ---- */

static int on_target(parser *p, const char *at, size_t len)
{
  struct http_message *m = p->data;
  if (!m->target.at) m->target.at = at;
  m->target.len += len;
  return 0;
}

/* Parsers may give a name or a value in several parts. */
static int on_name(parser *p, const char *at, size_t len)
{
  struct http_message *m = p->data;
  if (m->after_value || m->field_count == 0) {
    m->after_value = false;
    m->too_many = m->field_count == HTTP_MAX_FIELDS;
    if (m->too_many) return -1;
    m->fields[m->field_count++].name.at = at;
  }
  m->fields[m->field_count - 1].name.len += len;
  return 0;
}

static int on_value(parser *p, const char *at, size_t len)
{
  struct http_message *m = p->data;
  if (m->field_count == 0) return -1;
  struct http_span *value = &m->fields[m->field_count - 1].value;
  m->after_value = true;
  if (!value->at) value->at = at;
  value->len = (size_t)(at + len - value->at);
  return 0;
}

static int on_head(parser *p)
{
  struct http_message *m = p->data;
  m->is_1_0 = p->http_minor == 0;
#ifdef HAVE_LLHTTP
  m->method = llhttp_method_name((llhttp_method_t)p->method);
  m->keep_alive = llhttp_should_keep_alive(p);
#else
  m->method = http_method_str((enum http_method)p->method);
  m->keep_alive = http_should_keep_alive(p);
#endif
  m->state = HTTP_MESSAGE_COMPLETE;
  return -1; /* the body is no matter of the parser */
}

/* Runs the parser over the head. It always ends with an error: that of
 * on_head. */
static void parse(struct http_message *m)
{
  parser p;
  const char *head = (const char *)m->head.data;
#ifdef HAVE_LLHTTP
  parser_settings settings;
  llhttp_settings_init(&settings);
#else
  parser_settings settings;
  http_parser_settings_init(&settings);
#endif
  settings.on_url = on_target;
  settings.on_header_field = on_name;
  settings.on_header_value = on_value;
  settings.on_headers_complete = on_head;
#ifdef HAVE_LLHTTP
  llhttp_init(&p, HTTP_REQUEST, &settings);
  p.data = m;
  bool unknown = llhttp_execute(&p, head, m->head.len) == HPE_INVALID_METHOD;
#else
  http_parser_init(&p, HTTP_REQUEST);
  p.data = m;
  http_parser_execute(&p, &settings, head, m->head.len);
  bool unknown = HTTP_PARSER_ERRNO(&p) == HPE_INVALID_METHOD;
#endif
  if (m->too_many)
    refuse(m, 431, "The request has more than 100 headers.");
  else if (unknown)
    refuse(m, 501, "The method of the request is unknown.");
  else if (m->state == HTTP_MESSAGE_PARTIAL)
    refuse(m, 400, "The head of the request is malformed.");
}

/* ---- what the head says ---- */

static bool is_named(const struct http_field *f, const char *name)
{
  return f->name.len == strlen(name) &&
         !strncasecmp(f->name.at, name, f->name.len);
}

const struct http_span *http_message_field(const struct http_message *m,
                                           const char *name)
{
  for (int i = 0; i < m->field_count; i++)
    if (is_named(&m->fields[i], name)) return &m->fields[i].value;
  return NULL;
}

static int count_of(const struct http_message *m, const char *name)
{
  int n = 0;
  for (int i = 0; i < m->field_count; i++) n += is_named(&m->fields[i], name);
  return n;
}

static bool check_length(struct http_message *m)
{
  const struct http_span *length = http_message_field(m, "content-length");
  if (!length) return true;
  if (length->len == 0 || length->len > MAX_LENGTH_DIGITS)
    return refuse(m, 400, "The Content-Length is no length.");
  for (size_t i = 0; i < length->len; i++) {
    if (length->at[i] < '0' || length->at[i] > '9')
      return refuse(m, 400, "The Content-Length is no length.");
    m->length = 10 * m->length + (uint64_t)(length->at[i] - '0');
  }
  return true;
}

/* Of the version; also where a parser refuses it as malformed. */
static bool check_version(struct http_message *m, const char *at, size_t len)
{
  if (len != 8 || strncmp(at, "HTTP/", 5))
    return refuse(m, 400, "The request line is malformed.");
  if (strncmp(at, "HTTP/1.0", 8) && strncmp(at, "HTTP/1.1", 8))
    return refuse(m, 505, "This server speaks HTTP/1.1.");
  return true;
}

/* The request line has two blanks, and a target of visible ASCII. */
static bool check_line(struct http_message *m)
{
  const char *line = (const char *)m->head.data;
  const char *end = memchr(line, '\r', m->head.len), *version = line;
  int blanks = 0;
  for (const char *c = line; c < end; c++) {
    if (*c == ' ') {
      blanks++;
      version = c + 1;
    }
    if (*c == '\t' || (unsigned char)*c > '~') blanks = 3;
  }
  if (blanks != 2) return refuse(m, 400, "The request line is malformed.");
  return check_version(m, version, (size_t)(end - version));
}

/* What has both lengths, or a coding that is not known, may be meant to be read
 * in two ways. */
static bool check_coding(struct http_message *m)
{
  const struct http_span *coding = http_message_field(m, "transfer-encoding");
  if (!coding) return true;
  bool known = coding->len == 7 && !strncasecmp(coding->at, "chunked", 7);
  bool plain = known && !m->is_1_0 && count_of(m, "transfer-encoding") == 1 &&
               !count_of(m, "content-length");
  return refuse(m, plain ? 411 : 400,
                "The body must have a Content-Length, and no transfer coding.");
}

static bool check_fields(struct http_message *m)
{
  for (int i = 0; i < m->field_count; i++) {
    struct http_field *f = &m->fields[i];
    while (f->value.len && strchr(" \t", f->value.at[f->value.len - 1]))
      f->value.len--;
    if (!http_is_token(f->name.at, f->name.len))
      return refuse(m, 400, "The name of a header is malformed.");
  }
  if (count_of(m, "host") > 1 || (!m->is_1_0 && !count_of(m, "host")))
    return refuse(m, 400, "The request must have one Host header.");
  if (count_of(m, "content-length") > 1)
    return refuse(m, 400, "The request has more than one Content-Length.");
  if (!check_coding(m)) return false;
  const struct http_span *expect = http_message_field(m, "expect");
  if (expect && (count_of(m, "expect") > 1 || expect->len != 12 ||
                 strncasecmp(expect->at, "100-continue", 12)))
    return refuse(m, 417, "Only 100-continue can be expected.");
  m->expects_continue = expect && !m->is_1_0;
  return check_length(m);
}

static void finish(struct http_message *m)
{
  if (!check_line(m)) return;
  parse(m);
  if (m->state == HTTP_MESSAGE_COMPLETE) check_fields(m);
}

size_t http_message_receive(struct http_message *m, const void *data,
                            size_t len)
{
  const uint8_t *bytes = data;
  size_t from = 0, i = 0;
  bool whole = false;
  while (i < len && !whole) {
    uint8_t c = bytes[i++];
    if (!check_byte(m, c)) return i;
    if (c != '\n') {
      m->line += c != '\r';
      continue;
    }
    whole = m->line == 0;
    m->line = 0;
    if (whole && m->head.len + (i - from) == 2 && !m->skipped) {
      /* RFC 9112, section 2.2: an empty line before a request is ignored */
      m->skipped = true;
      whole = false;
      from = i;
      m->last = 0;
      buf_clear(&m->head);
    }
  }
  if (buf_add(&m->head, bytes + from, i - from) < 0) {
    refuse(m, 431, "The head of the request has more than 16 KiB.");
    return i;
  }
  if (m->head.len) m->state = HTTP_MESSAGE_PARTIAL;
  if (whole) finish(m);
  return i;
}
