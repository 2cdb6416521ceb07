/*
 * Ports of the run: the program sees only connections that have shown the key.
 *
 * When it begins to listen, a thread takes over the listening socket (doorkeeper.c). The program's descriptor becomes one
 * end of a pair of unix sockets: it polls as a listening socket does, "accept" takes from it what the thread has let in,
 * and when the program closes it, the thread closes the port. So nothing depends on how the program reads.
 */
#include "guard.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

DECLARE(accept)
DECLARE(accept4)
DECLARE(bind)
DECLARE(connect)
DECLARE(getsockname)
DECLARE(listen)

/* A descriptor of the program's that was a listening socket, and the name that it had. They are few; none is forgotten. */
struct door {
  struct door *next;
  uint64_t number; /* of the program's end of the pair */
  struct sockaddr_storage name;
  socklen_t name_size;
};

static _Atomic(struct door *) doors;

static struct door *door_of(int fd) {
  struct door *door = atomic_load(&doors);
  uint64_t number = door ? guard_number(fd) : 0;
  while (door && door->number != number) door = door->next;
  return door;
}

/* Binds to the run's address or, where a socket of this kind cannot have that, to loopback. */
static int bind_to(int fd, int family, const struct record *own) {
  bool is_v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)own->address);
  int v6_only = 0;
  socklen_t size = sizeof v6_only;
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(own->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(own->port), .sin6_addr = in6addr_loopback};
  if (family == AF_INET) {
    if (is_v4) memcpy(&v4.sin_addr, own->address + 12, 4);
    return REAL(bind)(fd, (const struct sockaddr *)&v4, sizeof v4);
  }
  getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &size);
  if (!is_v4 || !v6_only) memcpy(&v6.sin6_addr, own->address, 16);
  return REAL(bind)(fd, (const struct sockaddr *)&v6, sizeof v6);
}

/* Better no port than an open one. */
static int refuse(void) {
  fprintf(stderr, "tflaunch: cannot read the addresses of this run (%s), so no port is opened\n", getenv("TFLAUNCH_GUARD"));
  errno = EACCES;
  return -1;
}

EXPORTED int bind(int fd, const struct sockaddr *where, socklen_t size) {
  static const uint8_t v4_wildcard[16] = {[10] = 0xff, [11] = 0xff};
  uint8_t address[16];
  uint16_t port;
  struct entry own;
  bool is_wildcard = guard_parse(where, size, address, &port) && guard_is_stream(fd) &&
                     (!memcmp(address, &in6addr_any, 16) || !memcmp(address, v4_wildcard, 16));
  if (is_wildcard && getenv("TFLAUNCH_GUARD_LOOPBACK")) { /* a process that serves another one of its host alone */
    own.record = (struct record){.port = port, .address = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    return bind_to(fd, where->sa_family, &own.record);
  }
  int found = is_wildcard && port && guard_is_on() ? guard_find(NULL, port, OWN, &own) : 0;
  if (found < 0) return refuse();
  if (found && !(own.record.flags & ANYWHERE)) return bind_to(fd, where->sa_family, &own.record);
  return REAL(bind)(fd, where, size);
}

/* Listens behind a thread of ours. If that cannot be had, the socket does not listen. */
static int listen_behind(int fd, int backlog, const struct entry *own, struct door *door) {
  const struct sockaddr nothing = {.sa_family = AF_UNSPEC};
  int status = fcntl(fd, F_GETFL), close_on_exec = fcntl(fd, F_GETFD) & FD_CLOEXEC, pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (status & O_NONBLOCK ? SOCK_NONBLOCK : 0), 0, pair)) return -1;
  int listener = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (listener >= 0 && !fcntl(listener, F_SETFL, status | O_NONBLOCK) && !REAL(listen)(listener, backlog)) {
    if (guard_start_doorkeeper(listener, pair[0], own)) {
      door->number = guard_number(pair[1]);
      door->next = atomic_load(&doors);
      while (!atomic_compare_exchange_weak(&doors, &door->next, door)) continue;
      dup3(pair[1], fd, close_on_exec ? O_CLOEXEC : 0);
      return close(pair[1]);
    }
    REAL(connect)(listener, &nothing, sizeof nothing); /* it listens no more */
    errno = EAGAIN;
  }
  int error = errno;
  fcntl(fd, F_SETFL, status);
  if (listener >= 0) close(listener);
  close(pair[0]);
  close(pair[1]);
  errno = error;
  return -1;
}

EXPORTED int listen(int fd, int backlog) {
  uint8_t address[16];
  uint16_t port;
  struct entry own;
  struct door name = {.name_size = sizeof name.name};
  if (!guard_is_on() || !guard_is_stream(fd) || REAL(getsockname)(fd, (struct sockaddr *)&name.name, &name.name_size) ||
      !guard_parse((const struct sockaddr *)&name.name, name.name_size, address, &port))
    return door_of(fd) ? 0 : REAL(listen)(fd, backlog);
  int found = guard_find(NULL, port, OWN, &own);
  if (found <= 0) return found < 0 ? refuse() : REAL(listen)(fd, backlog);
  struct door *door = malloc(sizeof *door);
  if (!door) return -1;
  *door = name;
  int result = listen_behind(fd, backlog, &own, door);
  if (result) free(door);
  return result;
}

/* Receives a descriptor, and the address that goes with it. */
static int receive(int fd, struct sockaddr_storage *name, socklen_t *name_size, int flags) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec part = {.iov_base = name, .iov_len = sizeof *name};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t size = recvmsg(fd, &message, flags);
  struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  int received;
  if (!header) {
    if (size >= 0) errno = size ? EMFILE : EINVAL; /* it was dropped for want of a descriptor; the door is closed */
    return -1;
  }
  memcpy(&received, CMSG_DATA(header), sizeof received);
  *name_size = size;
  return received;
}

/* Takes the next connection that was let in, out of its wrapping. As accept does, it waits where the descriptor may
 * block. */
static int take(int fd, struct sockaddr *from, socklen_t *from_size, int flags) {
  struct sockaddr_storage name;
  socklen_t size;
  int wrapping = receive(fd, &name, &size, MSG_CMSG_CLOEXEC);
  if (wrapping < 0) return -1;
  int taken = receive(wrapping, &name, &size, MSG_DONTWAIT | (flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0));
  int error = errno;
  close(wrapping);
  errno = error;
  if (taken < 0) return -1;
  if (flags & SOCK_NONBLOCK) fcntl(taken, F_SETFL, fcntl(taken, F_GETFL) | O_NONBLOCK);
  if (from && from_size) {
    memcpy(from, &name, *from_size < size ? *from_size : size);
    *from_size = size;
  }
  return taken;
}

EXPORTED int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags) {
  return door_of(fd) ? take(fd, from, size, flags) : REAL(accept4)(fd, from, size, flags);
}

EXPORTED int accept(int fd, struct sockaddr *from, socklen_t *size) {
  return door_of(fd) ? take(fd, from, size, 0) : REAL(accept)(fd, from, size);
}

EXPORTED int getsockname(int fd, struct sockaddr *name, socklen_t *size) {
  const struct door *door = door_of(fd);
  if (!door) return REAL(getsockname)(fd, name, size);
  memcpy(name, &door->name, *size < door->name_size ? *size : door->name_size);
  *size = door->name_size;
  return 0;
}
