/*
 * Connections to addresses of the run: the key is the first that is sent.
 *
 * It is sent as soon as the connection is known to be there: when connect or a question for SO_ERROR says so, and at the
 * latest before what the program sends. Which connections wait for that is known by the numbers of their sockets, so that
 * descriptors may be closed, duplicated and used again.
 */
#include "guard.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

DECLARE(connect)
DECLARE(getsockopt)
DECLARE(send)
DECLARE(sendmmsg)
DECLARE(sendmsg)
DECLARE(sendto)
DECLARE(write)
DECLARE(writev)

struct caller {
  struct caller *next;
  uint64_t number;
  int fd;
  size_t left;
  uint8_t key[KEY_BYTES];
};

static struct caller *callers;
static atomic_int caller_count; /* nearly always 0, and then to look here is all that a call costs */
static pthread_mutex_t callers_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_for_fork(void) { pthread_mutex_lock(&callers_lock); }
static void unlock_after_fork(void) { pthread_mutex_unlock(&callers_lock); }

__attribute__((constructor)) static void prepare_forks(void) {
  pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
}

/* Signals wait meanwhile: a handler that writes would wait here for the very thread that it has interrupted. */
static sigset_t lock_callers(void) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_mutex_lock(&callers_lock);
  return before;
}

static void unlock_callers(sigset_t before) {
  pthread_mutex_unlock(&callers_lock);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void forget(struct caller **place) {
  struct caller *gone = *place;
  *place = gone->next;
  free(gone);
  atomic_fetch_sub(&caller_count, 1);
}

/* Adds a connection. Those whose descriptor belongs to another socket by now were given up by the program. */
static void remember(int fd, const struct record *peer) {
  struct caller *fresh = malloc(sizeof *fresh);
  sigset_t before = lock_callers();
  for (struct caller **place = &callers; *place;)
    if ((*place)->fd == fd || guard_number((*place)->fd) != (*place)->number)
      forget(place);
    else
      place = &(*place)->next;
  if (fresh) { /* out of memory: no key is sent, and the other end refuses us */
    *fresh = (struct caller){.next = callers, .number = guard_number(fd), .fd = fd, .left = KEY_BYTES};
    memcpy(fresh->key, peer->key, KEY_BYTES);
    callers = fresh;
    atomic_fetch_add(&caller_count, 1);
  }
  unlock_callers(before);
}

/* Sends what is left of the key; false if not all of it could be sent now. An error is left for the program to meet. */
static bool send_rest(struct caller **place, int fd) {
  struct caller *caller = *place;
  ssize_t size = REAL(send)(fd, caller->key + KEY_BYTES - caller->left, caller->left, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)) return false;
  caller->left = size < 0 ? 0 : caller->left - size;
  if (caller->left) return false;
  forget(place);
  return true;
}

static bool send_key(int fd) {
  uint64_t number = guard_number(fd);
  bool sent = true;
  if (!number) return true;
  sigset_t before = lock_callers();
  for (struct caller **place = &callers; *place; place = &(*place)->next)
    if ((*place)->number == number) {
      sent = send_rest(place, fd);
      break;
    }
  unlock_callers(before);
  return sent;
}

/* Sends the key before the program sends anything; false (EAGAIN) if the program has to wait, which blocks here if it
 * means to. */
static bool key_is_sent(int fd, int flags) {
  int before = errno;
  while (!send_key(fd)) {
    if ((flags & MSG_DONTWAIT) || (fcntl(fd, F_GETFL) & O_NONBLOCK)) {
      errno = EAGAIN;
      return false;
    }
    poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
  }
  errno = before;
  return true;
}

EXPORTED int connect(int fd, const struct sockaddr *to, socklen_t size) {
  uint8_t address[16];
  uint16_t port;
  struct entry peer;
  bool ours = guard_is_on() && guard_parse(to, size, address, &port) && guard_is_stream(fd) &&
              guard_find(address, port, 0, &peer) > 0;
  if (ours) {
    remember(fd, &peer.record);
    guard_keep_alive(fd, &peer.rules);
  }
  int result = REAL(connect)(fd, to, size), error = errno;
  if (ours && result == 0) send_key(fd);
  errno = error;
  return result;
}

EXPORTED int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
  int result = REAL(getsockopt)(fd, level, name, value, size), error = errno;
  if (atomic_load(&caller_count) && !result && level == SOL_SOCKET && name == SO_ERROR && *(int *)value == 0) send_key(fd);
  errno = error;
  return result;
}

#define AFTER_KEY(fd, flags, call) (atomic_load(&caller_count) && !key_is_sent(fd, flags) ? -1 : (call))

EXPORTED ssize_t send(int fd, const void *data, size_t size, int flags) {
  return AFTER_KEY(fd, flags, REAL(send)(fd, data, size, flags));
}

EXPORTED ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
  return AFTER_KEY(fd, flags, REAL(sendto)(fd, data, size, flags, to, length));
}

EXPORTED ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  return AFTER_KEY(fd, flags, REAL(sendmsg)(fd, message, flags));
}

EXPORTED int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  return AFTER_KEY(fd, flags, REAL(sendmmsg)(fd, messages, count, flags));
}

EXPORTED ssize_t write(int fd, const void *data, size_t size) { return AFTER_KEY(fd, 0, REAL(write)(fd, data, size)); }

EXPORTED ssize_t writev(int fd, const struct iovec *parts, int count) {
  return AFTER_KEY(fd, 0, REAL(writev)(fd, parts, count));
}
