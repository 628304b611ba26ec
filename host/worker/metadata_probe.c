/* SPDX-License-Identifier: MIT */
#include "worker/metadata_probe.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* The port for what is to be discarded. */
enum { PORT = 9 };

static bool can_send(void)
{
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  bool sent = false;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  inet_pton(AF_INET, "169.254.169.254", &to.sin_addr);
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) == 0)
    sent = sendto(fd, NULL, 0, MSG_DONTWAIT, (const struct sockaddr *)&to,
                  sizeof(to)) == 0;
  close(fd);
  return sent;
}

void metadata_probe(void)
{
  if (can_send())
    log_warn("the machine does not keep workers from the metadata services of "
             "clouds (IPAddressDeny= needs BPF); --allow-hosts alone does");
}
