/* SPDX-License-Identifier: MIT */
#include "wrap/certificate.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SUFFIX ".moonfleet"

/* The label that names a role, and the only key usage of its certificates. */
static const struct {
  const char *name;
  int usage;
} roles[CERTIFICATE_ROLES] = {
    [CERTIFICATE_OTHER] = {"other", NID_undef},
    [CERTIFICATE_CA] = {"ca", NID_undef},
    [CERTIFICATE_NODE] = {"node", NID_server_auth},
    [CERTIFICATE_DRIVER] = {"driver", NID_client_auth},
    [CERTIFICATE_OBSERVER] = {"observer", NID_client_auth},
};

/* ---- names ---- */

static bool is_alphanumeric(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

const char *certificate_role_name(enum certificate_role role)
{
  return roles[role].name;
}

enum certificate_role certificate_role_of(const char *name)
{
  for (int role = CERTIFICATE_CA; role < CERTIFICATE_ROLES; role++)
    if (!strcmp(roles[role].name, name)) return (enum certificate_role)role;
  return CERTIFICATE_OTHER;
}

bool certificate_is_fleet(const char *fleet)
{
  size_t len = strlen(fleet);
  if (len == 0 || len >= CERTIFICATE_FLEET_SIZE) return false;
  for (size_t i = 0; i < len; i++) {
    bool edge = i == 0 || i == len - 1;
    if (fleet[i] >= 'A' && fleet[i] <= 'Z') return false;
    if (!is_alphanumeric(fleet[i]) && (edge || fleet[i] != '-')) return false;
  }
  return true;
}

bool certificate_is_name(const char *name)
{
  size_t len = strlen(name);
  if (len == 0 || len >= CERTIFICATE_NAME_SIZE || !is_alphanumeric(name[0]))
    return false;
  for (size_t i = 1; i < len; i++)
    if (!is_alphanumeric(name[i]) && !strchr("._-@", name[i])) return false;
  return true;
}

bool certificate_is_serial(const char *serial)
{
  size_t len = strlen(serial);
  return len > 0 && len < CERTIFICATE_SERIAL_SIZE &&
         strspn(serial, "0123456789abcdefABCDEF") == len;
}

void certificate_dns_name(enum certificate_role role, const char *fleet,
                          char to[CERTIFICATE_DNS_SIZE])
{
  snprintf(to, CERTIFICATE_DNS_SIZE, "%s.%s" SUFFIX, roles[role].name, fleet);
}

/* ---- dates: counted by OpenSSL, since time_t may have 32 bits ---- */

enum { DAY = 86400 }; /* seconds */

void certificate_date(int64_t seconds, char to[CERTIFICATE_DATE_SIZE])
{
  struct tm tm;
  int64_t day = seconds / DAY;
  ASN1_TIME *date = day > INT_MAX || day < INT_MIN
                        ? NULL
                        : ASN1_TIME_adj(NULL, 0, (int)day, seconds % DAY);
  if (!date || !ASN1_TIME_to_tm(date, &tm) ||
      !strftime(to, CERTIFICATE_DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm))
    snprintf(to, CERTIFICATE_DATE_SIZE, "an unknown date");
  ASN1_TIME_free(date);
}

int certificate_seconds(const ASN1_TIME *date, int64_t *seconds)
{
  int day, second;
  ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
  int ok = epoch && ASN1_TIME_diff(&day, &second, epoch, date);
  ASN1_TIME_free(epoch);
  if (ok) *seconds = (int64_t)day * DAY + second;
  return ok ? 0 : -1;
}

/* ---- the role ---- */

/* Takes ROLE.FLEET.moonfleet apart. Returns CERTIFICATE_OTHER, and no fleet,
 * for anything else. */
static enum certificate_role parse_dns_name(const char *dns, size_t len,
                                            char fleet[CERTIFICATE_FLEET_SIZE])
{
  size_t end = strlen(SUFFIX);
  for (int role = CERTIFICATE_CA; role < CERTIFICATE_ROLES; role++) {
    size_t start = strlen(roles[role].name) + 1; /* and the dot */
    if (len <= start + end || len - start - end >= CERTIFICATE_FLEET_SIZE ||
        memcmp(dns, roles[role].name, start - 1) || dns[start - 1] != '.' ||
        memcmp(dns + len - end, SUFFIX, end))
      continue;
    memcpy(fleet, dns + start, len - start - end);
    fleet[len - start - end] = '\0';
    /* a NUL inside would hide what follows it */
    if (strlen(fleet) == len - start - end && certificate_is_fleet(fleet))
      return (enum certificate_role)role;
  }
  fleet[0] = '\0';
  return CERTIFICATE_OTHER;
}

/* The role that the only alternative name gives. */
static enum certificate_role read_dns_name(const X509 *cert,
                                           char fleet[CERTIFICATE_FLEET_SIZE])
{
  enum certificate_role role = CERTIFICATE_OTHER;
  GENERAL_NAMES *names =
      X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  fleet[0] = '\0';
  if (names && sk_GENERAL_NAME_num(names) == 1) {
    int type;
    const ASN1_STRING *dns =
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
    if (type == GEN_DNS)
      role = parse_dns_name((const char *)ASN1_STRING_get0_data(dns),
                            (size_t)ASN1_STRING_length(dns), fleet);
  }
  GENERAL_NAMES_free(names);
  return role;
}

/* Whether the extended key usage is `usage` alone; NID_undef: there is none. */
static bool has_usage(const X509 *cert, int usage)
{
  int critical;
  EXTENDED_KEY_USAGE *list =
      X509_get_ext_d2i(cert, NID_ext_key_usage, &critical, NULL);
  bool has = list ? sk_ASN1_OBJECT_num(list) == 1 &&
                        OBJ_obj2nid(sk_ASN1_OBJECT_value(list, 0)) == usage
                  : usage == NID_undef && critical == -1;
  EXTENDED_KEY_USAGE_free(list);
  return has;
}

static void read_role(X509 *cert, struct certificate *to)
{
  uint32_t flags = X509_get_extension_flags(cert);
  bool is_ca = (flags & EXFLAG_CA) != 0;
  to->role = read_dns_name(cert, to->fleet);
  if ((flags & EXFLAG_INVALID) || is_ca != (to->role == CERTIFICATE_CA) ||
      !has_usage(cert, roles[to->role].usage)) {
    to->role = CERTIFICATE_OTHER;
    to->fleet[0] = '\0';
  }
}

/* ---- the other facts ---- */

static void read_name(const X509 *cert, char to[CERTIFICATE_NAME_SIZE])
{
  const X509_NAME *subject = X509_get_subject_name(cert);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  unsigned char *text = NULL;
  int len = at < 0 ? 0
                   : ASN1_STRING_to_UTF8(&text,
                                         X509_NAME_ENTRY_get_data(
                                             X509_NAME_get_entry(subject, at)));
  if (len < 0) len = 0;
  if (len >= CERTIFICATE_NAME_SIZE) len = CERTIFICATE_NAME_SIZE - 1;
  for (int i = 0; i < len; i++)
    to[i] = text[i] >= ' ' && text[i] <= '~' ? (char)text[i] : '?';
  to[len] = '\0';
  OPENSSL_free(text);
}

static int read_serial(const X509 *cert, char to[CERTIFICATE_SERIAL_SIZE])
{
  static const char hex[] = "0123456789abcdef";
  const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
  const unsigned char *bytes = ASN1_STRING_get0_data(serial);
  size_t len = (size_t)ASN1_STRING_length(serial);
  if (len == 0 || len > (CERTIFICATE_SERIAL_SIZE - 1) / 2 ||
      ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
    return -1;
  for (size_t i = 0; i < len; i++) {
    to[2 * i] = hex[bytes[i] >> 4];
    to[2 * i + 1] = hex[bytes[i] & 15];
  }
  to[2 * len] = '\0';
  return 0;
}

int certificate_read(X509 *cert, struct certificate *to, struct err *e)
{
  memset(to, 0, sizeof(*to));
  ERR_set_mark(); /* what cannot be parsed leaves errors in OpenSSL's queue */
  read_role(cert, to);
  read_name(cert, to->name);
  ERR_pop_to_mark();
  if (read_serial(cert, to->serial) < 0)
    return err_set(e, "config", "its serial number is not one to 20 bytes");
  if (certificate_seconds(X509_get0_notBefore(cert), &to->not_before) < 0 ||
      certificate_seconds(X509_get0_notAfter(cert), &to->not_after) < 0)
    return err_set(e, "config", "its dates cannot be read");
  return 0;
}

int certificate_read_pem(const char *pem, size_t len, struct certificate *to,
                         struct err *e)
{
  if (len > INT_MAX) return err_set(e, "config", "it is too large");
  ERR_set_mark();
  BIO *in = BIO_new_mem_buf(pem, (int)len);
  X509 *cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
  int rc = cert ? certificate_read(cert, to, e)
                : err_set(e, "config", "it has no certificate in PEM format");
  ERR_pop_to_mark();
  X509_free(cert);
  BIO_free(in);
  return rc;
}
