/* The addresses of the run, and what both sides of a connection need. */
#include "guard.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLE "TFLAUNCH_GUARD"
#define MAGIC "tflguard"
#define VERSION 1

bool guard_is_on(void) { return getenv(VARIABLE) != NULL; }

static bool matches(const struct record *record, const uint8_t *address, uint16_t port, uint16_t flags) {
  return record->port == port && (record->flags & flags) == flags && (!address || !memcmp(record->address, address, 16));
}

static int find_in(int file, const uint8_t *address, uint16_t port, uint16_t flags, struct entry *found) {
  struct record records[64];
  ssize_t size = read(file, &found->rules, sizeof found->rules);
  if (size != sizeof found->rules || memcmp(found->rules.magic, MAGIC, sizeof found->rules.magic) || found->rules.version != VERSION)
    return -1;
  while ((size = read(file, records, sizeof records)) > 0)
    for (size_t at = 0; at < size / sizeof *records; at++)
      if (matches(&records[at], address, port, flags)) {
        found->record = records[at];
        return 1;
      }
  return size < 0 ? -1 : 0;
}

int guard_find(const uint8_t *address, uint16_t port, uint16_t flags, struct entry *found) {
  const char *path = getenv(VARIABLE);
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return -1;
  int result = find_in(file, address, port, flags, found);
  close(file);
  return result;
}

bool guard_parse(const struct sockaddr *from, socklen_t size, uint8_t address[16], uint16_t *port) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  if (!from || size < sizeof from->sa_family) return false;
  if (from->sa_family == AF_INET && size >= sizeof v4) {
    memcpy(&v4, from, sizeof v4);
    memcpy(address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
    memcpy(address + 12, &v4.sin_addr, 4);
    *port = ntohs(v4.sin_port);
    return true;
  }
  if (from->sa_family == AF_INET6 && size >= sizeof v6) {
    memcpy(&v6, from, sizeof v6);
    memcpy(address, &v6.sin6_addr, 16);
    *port = ntohs(v6.sin6_port);
    return true;
  }
  return false;
}

bool guard_is_stream(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

uint64_t guard_number(int fd) {
  struct stat facts;
  return fstat(fd, &facts) || !S_ISSOCK(facts.st_mode) ? 0 : facts.st_ino;
}

void guard_keep_alive(int fd, const struct header *rules) {
  int on = 1, interval_s = rules->keepalive_s, count = 3, timeout_ms = rules->user_timeout_ms;
  if (interval_s) {
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  }
  if (timeout_ms) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}
