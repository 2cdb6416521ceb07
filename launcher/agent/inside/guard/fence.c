/*
 * The fence: a task of a host that was lost changes no more files when the run goes on without it.
 *
 * TFLAUNCH_DEADLINE names a file of eight bytes: until when this host is believed to be part of the run, in nanoseconds of
 * CLOCK_BOOTTIME, which counts the time in which a machine sleeps. TFLAUNCH_HOLDER is a line of .tflaunch-holders, a file
 * in each folder that was trained in: whose name stands there, but not in the last line, has lost the folder. So has a
 * task of which a line says that this attempt has departed: the holder's name, TFLAUNCH_TASK and TFLAUNCH_ATTEMPT. All are
 * looked at before a file is renamed, removed or opened to be written as a whole, which is how checkpoints are made.
 */
#include "guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE "TFLAUNCH_DEADLINE"
#define HOLDER "TFLAUNCH_HOLDER"
#define TASK "TFLAUNCH_TASK"
#define ATTEMPT "TFLAUNCH_ATTEMPT"
#define HOLDERS ".tflaunch-holders"
#define MOST_BYTES 16384

DECLARE(rename)
DECLARE(renameat)
DECLARE(unlink)
DECLARE(unlinkat)
DECLARE(fopen)

static void end(const char *why) {
  if (write(2, why, strlen(why)) < 0) { /* nobody hears it */
  }
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* The mapping outlives the file, which goes with the run's folder on this host. */
static const int64_t *deadline(void) {
  static const int64_t *mapped;
  const int64_t *found = __atomic_load_n(&mapped, __ATOMIC_ACQUIRE);
  const char *path = found ? NULL : getenv(DEADLINE);
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return found;
  void *place = mmap(NULL, sizeof *found, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (place == MAP_FAILED) return NULL;
  __atomic_store_n(&mapped, (const int64_t *)place, __ATOMIC_RELEASE);
  return place;
}

static bool is_late(void) {
  const int64_t *until = deadline();
  struct timespec now;
  if (!until || clock_gettime(CLOCK_BOOTTIME, &now)) return false;
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec > __atomic_load_n(until, __ATOMIC_RELAXED);
}

/* Whether a line of ``text``, its newlines included, is there and not the last one. */
static bool is_former(const char *text, const char *line) {
  const char *last = NULL;
  for (const char *at = text; (at = strstr(at, line)); at++) last = at;
  return last && last[strlen(line)] != '\0';
}

/* Whether another one has the folder in which ``path`` is, and we had it. */
static bool is_replaced(const char *path) {
  char text[MOST_BYTES], line[256], own[512], *name = strrchr(path, '/');
  const char *holder = getenv(HOLDER), *task = getenv(TASK), *attempt = getenv(ATTEMPT);
  if (!holder || snprintf(line, sizeof line, "\n%s\n", holder) >= (int)sizeof line) return false;
  if (!task || !attempt || snprintf(own, sizeof own, "\n%s %s %s\n", holder, task, attempt) >= (int)sizeof own)
    own[0] = '\0';
  int size = snprintf(text, sizeof text, "%.*s%s", name ? (int)(name - path) + 1 : 0, path, HOLDERS);
  int file = size < (int)sizeof text ? open(text, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return false;
  text[0] = '\n';
  ssize_t length = read(file, text + 1, sizeof text - 2);
  close(file);
  text[length < 0 ? 1 : length + 1] = '\0';
  return is_former(text, line) || (own[0] && is_former(text, own));
}

static void check(int folder, const char *path) {
  int saved = errno;
  if (is_late()) end("tflaunch: this host was without its supervisor for too long: the task ends before it changes a file\n");
  if (path && (folder == AT_FDCWD || *path == '/') && is_replaced(path))
    end("tflaunch: the run has gone on without this task: it ends before it changes the model_dir\n");
  errno = saved;
}

EXPORTED int rename(const char *from, const char *to) {
  check(AT_FDCWD, to);
  return REAL(rename)(from, to);
}

EXPORTED int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  check(to_folder, to);
  return REAL(renameat)(from_folder, from, to_folder, to);
}

EXPORTED int unlink(const char *path) {
  check(AT_FDCWD, path);
  return REAL(unlink)(path);
}

EXPORTED int unlinkat(int folder, const char *path, int flags) {
  check(folder, path);
  return REAL(unlinkat)(folder, path, flags);
}

EXPORTED FILE *fopen(const char *path, const char *mode) {
  if (mode && *mode != 'r') check(AT_FDCWD, path);
  return REAL(fopen)(path, mode);
}

#undef fopen64
EXPORTED FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
