/* The thread that lets connections in: each when it has shown the key, and no other. */
#include "guard.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST_NEWCOMERS 1024
#define REST_MS 100   /* when there are no more descriptors to be had */
#define MOMENT_MS 500 /* from a wrong key to the end of the connection */

DECLARE(accept4)
DECLARE(send)
DECLARE(sendmsg)

struct newcomer {
  int fd; /* the connection; once it is wrapped, the socket in which it lies */
  struct sockaddr_storage from;
  socklen_t from_size;
  int64_t deadline_ms;
  size_t left; /* of its key; 0: it waits for the program to accept it, or for its end if it was wrong */
  bool wrong, wrapped;
};

struct keeper {
  struct entry own;
  int listener, inside, log, most;
  bool resting;
  unsigned long strangers;
  int count;
  struct newcomer newcomers[MOST_NEWCOMERS]; /* the oldest first */
  struct pollfd polls[2 + MOST_NEWCOMERS];   /* inside, listener, and one for each of them */
};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void forget(struct keeper *keeper, int at) {
  int after = --keeper->count - at;
  close(keeper->newcomers[at].fd);
  memmove(&keeper->newcomers[at], &keeper->newcomers[at + 1], after * sizeof *keeper->newcomers);
  memmove(&keeper->polls[2 + at], &keeper->polls[3 + at], after * sizeof *keeper->polls);
}

/* Tells of the first stranger, the tenth, the hundredth and so on: a flood of them is no flood of lines. */
static void tell(struct keeper *keeper, const struct newcomer *stranger) {
  unsigned long tens = ++keeper->strangers;
  char text[INET6_ADDRSTRLEN] = "?";
  uint8_t address[16];
  uint16_t port;
  while (tens % 10 == 0) tens /= 10;
  if (tens != 1) return;
  if (guard_parse((const void *)&stranger->from, stranger->from_size, address, &port))
    inet_ntop(AF_INET6, address, text, sizeof text);
  dprintf(keeper->log, "tflaunch: cut off a connection from %s to port %d that did not show its key (%lu so far)\n",
          strncmp(text, "::ffff:", 7) ? text : text + 7, keeper->own.record.port, keeper->strangers);
}

/* Resets the connection, so that nothing of it is left in the kernel. */
static void cut_off(struct keeper *keeper, int at) {
  const struct linger reset = {.l_onoff = 1};
  if (keeper->newcomers[at].left) tell(keeper, &keeper->newcomers[at]);
  setsockopt(keeper->newcomers[at].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  forget(keeper, at);
}

/* Whoever has shown a wrong key is cut off after a moment in which he is heard no more. He gets an empty SETTINGS frame of
 * HTTP/2: a gRPC client believes then that it is connected, sends its request, and when that fails its program is told
 * (UNAVAILABLE). Newer ones would try again for ever otherwise, and tell nobody. */
static void condemn(struct keeper *keeper, struct newcomer *stranger, int64_t now) {
  static const uint8_t settings[9] = {[3] = 0x04};
  tell(keeper, stranger);
  REAL(send)(stranger->fd, settings, sizeof settings, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (stranger->deadline_ms > now + MOMENT_MS) stranger->deadline_ms = now + MOMENT_MS;
}

static bool is_right(const struct newcomer *newcomer) { return !newcomer->left && !newcomer->wrong; }

/* Reads and forgets; false if the connection has gone. */
static bool ignore(const struct newcomer *stranger) {
  char nothing[4096];
  ssize_t size = recv(stranger->fd, nothing, sizeof nothing, MSG_DONTWAIT);
  return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Reads what has come of a key; false if the connection has gone. Nothing is judged before all of it is there: who sends
 * it byte by byte must not learn from the answers how many of them were right. */
static bool hear(struct keeper *keeper, struct newcomer *newcomer) {
  const uint8_t *expected = keeper->own.record.key + KEY_BYTES - newcomer->left;
  uint8_t came[KEY_BYTES], differences = newcomer->wrong;
  ssize_t size = recv(newcomer->fd, came, newcomer->left, MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  for (ssize_t at = 0; at < size; at++) differences |= came[at] ^ expected[at];
  newcomer->wrong = differences != 0;
  newcomer->left -= size;
  return size > 0;
}

/* Sends a descriptor, with the address that its connection came from. */
static bool pass_on(int through, const struct newcomer *newcomer) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct iovec from = {.iov_base = (void *)&newcomer->from, .iov_len = newcomer->from_size};
  struct msghdr message = {.msg_iov = &from, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  memcpy(CMSG_DATA(&control.header), &newcomer->fd, sizeof newcomer->fd);
  return REAL(sendmsg)(through, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* Puts a connection into a socket of its own, which is what the program is sent. Were it sent the connection, there would
 * be a moment in which both of us have it, and what the program closes in that moment stays in its epoll sets: they
 * would tell of a descriptor that is closed, or another connection's by now. */
static bool wrap(struct newcomer *newcomer) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return false;
  newcomer->wrapped = pass_on(pair[0], newcomer);
  close(pair[0]);
  close(newcomer->wrapped ? newcomer->fd : pair[1]);
  if (newcomer->wrapped) newcomer->fd = pair[1];
  return newcomer->wrapped;
}

/* Passes a connection on to the program; false if it has enough to accept for now, or there are no descriptors. */
static bool let_in(struct keeper *keeper, struct newcomer *newcomer) {
  if (!newcomer->wrapped) {
    guard_keep_alive(newcomer->fd, &keeper->own.rules);
    if (!wrap(newcomer)) {
      keeper->resting = true;
      return false;
    }
  }
  return pass_on(keeper->inside, newcomer) || errno != EAGAIN;
}

/* Deals with one newcomer; true if it is not among them any more: let in, cut off, or gone by itself. */
static bool see_to(struct keeper *keeper, int at, int64_t now) {
  struct newcomer *newcomer = &keeper->newcomers[at];
  bool alive = true;
  if (newcomer->left) {
    alive = hear(keeper, newcomer);
    if (alive && !newcomer->left && newcomer->wrong) condemn(keeper, newcomer, now);
  } else if (newcomer->wrong) {
    alive = ignore(newcomer);
  }
  if (alive && is_right(newcomer)) alive = !let_in(keeper, newcomer);
  if (alive && (is_right(newcomer) || now < newcomer->deadline_ms)) return false;
  if (alive)
    cut_off(keeper, at);
  else
    forget(keeper, at);
  return true;
}

/* Cuts off the oldest of those that have not shown the key; false if there is none. */
static bool make_room(struct keeper *keeper) {
  int at = 0;
  while (at < keeper->count && is_right(&keeper->newcomers[at])) at++;
  if (at == keeper->count) return false;
  cut_off(keeper, at);
  return true;
}

static bool is_short_of_something(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void welcome(struct keeper *keeper, int64_t now) {
  for (int rounds = 0; rounds < MOST_NEWCOMERS && (keeper->count < keeper->most || make_room(keeper)); rounds++) {
    struct newcomer *newcomer = &keeper->newcomers[keeper->count];
    *newcomer = (struct newcomer){.from_size = sizeof newcomer->from, .left = KEY_BYTES};
    newcomer->deadline_ms = now + keeper->own.rules.patience_ms;
    newcomer->fd = REAL(accept4)(keeper->listener, (void *)&newcomer->from, &newcomer->from_size, SOCK_CLOEXEC);
    if (newcomer->fd >= 0) {
      keeper->polls[2 + keeper->count].revents = 0;
      see_to(keeper, keeper->count++, now); /* the key has often come with it */
    } else if (is_short_of_something(errno)) {
      keeper->resting = !make_room(keeper);
      if (keeper->resting) return;
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

static void wait_for_news(struct keeper *keeper) {
  int64_t now = now_ms(), until = keeper->resting ? now + REST_MS : INT64_MAX;
  int without_key = 0;
  for (int at = 0; at < keeper->count; at++) {
    const struct newcomer *newcomer = &keeper->newcomers[at];
    keeper->polls[2 + at] = (struct pollfd){.fd = is_right(newcomer) ? -1 : newcomer->fd, .events = POLLIN};
    if (is_right(newcomer)) continue;
    without_key++;
    if (newcomer->deadline_ms < until) until = newcomer->deadline_ms;
  }
  bool has_room = keeper->count < keeper->most || without_key;
  keeper->polls[0] = (struct pollfd){.fd = keeper->inside, .events = keeper->count > without_key && !keeper->resting ? POLLOUT : 0};
  keeper->polls[1] = (struct pollfd){.fd = keeper->listener, .events = has_room && !keeper->resting ? POLLIN : 0};
  keeper->resting = false;
  poll(keeper->polls, 2 + keeper->count, until == INT64_MAX ? -1 : until > now ? (int)(until - now) : 0);
}

static void *keep(void *argument) {
  struct keeper *keeper = argument;
  prctl(PR_SET_NAME, "tflaunch-door"); /* by which the agent sees that this port is guarded; lookout.py */
  for (;;) {
    wait_for_news(keeper);
    if ((keeper->polls[0].revents | keeper->polls[1].revents) & (POLLHUP | POLLERR | POLLNVAL)) break;
    int64_t now = now_ms();
    for (int at = 0; at < keeper->count;) {
      const struct newcomer *newcomer = &keeper->newcomers[at];
      bool is_due = is_right(newcomer) ? keeper->polls[0].revents & POLLOUT
                                       : keeper->polls[2 + at].revents || now >= newcomer->deadline_ms;
      if (!is_due || !see_to(keeper, at, now)) at++;
    }
    if (keeper->polls[1].revents & POLLIN) welcome(keeper, now);
  }
  while (keeper->count) forget(keeper, 0);
  close(keeper->listener);
  close(keeper->inside);
  close(keeper->log);
  free(keeper);
  return NULL;
}

bool guard_start_doorkeeper(int listener, int inside, const struct entry *own) {
  struct keeper *keeper = calloc(1, sizeof *keeper);
  struct rlimit files = {.rlim_cur = RLIM_INFINITY};
  pthread_t thread;
  sigset_t all, before;
  if (!keeper) return false;
  getrlimit(RLIMIT_NOFILE, &files);
  keeper->most = files.rlim_cur / 4 < MOST_NEWCOMERS ? 1 + (int)files.rlim_cur / 4 : MOST_NEWCOMERS;
  keeper->own = *own;
  keeper->listener = listener;
  keeper->inside = inside;
  keeper->log = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3); /* 2 may become anything */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's threads */
  bool started = !pthread_create(&thread, NULL, keep, keeper);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (started) {
    pthread_detach(thread);
    return true;
  }
  close(keeper->log);
  free(keeper);
  return false;
}
