/*
 * The guard: the ports of a run answer the run's own processes alone.
 *
 * Loaded into every task (LD_PRELOAD). TFLAUNCH_GUARD names a file that addresses.py writes: where tasks listen, and the
 * key of each address. A connection to one of them begins with its key; the program that listens there sees only
 * connections that did (listening.c). The key is sent before anything that the program at the other end sends
 * (connecting.c). Without TFLAUNCH_GUARD all of this does nothing. With TFLAUNCH_GUARD_LOOPBACK ports that the file does
 * not know open on loopback alone. It is no encryption.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define EXPORTED __attribute__((visibility("default")))

/* REAL(name) is the next function of that name: the C library's, or that of a library which the user loads beside us. */
#define DECLARE(name)                                                    \
  static __typeof__(&name) next_##name(void) {                           \
    static __typeof__(&name) found;                                      \
    __typeof__(&name) next = __atomic_load_n(&found, __ATOMIC_RELAXED);  \
    if (!next) {                                                         \
      next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                 \
      __atomic_store_n(&found, next, __ATOMIC_RELAXED);                  \
    }                                                                    \
    return next;                                                         \
  }
#define REAL(name) next_##name()

#define KEY_BYTES 32

enum flags {
  OWN = 1,     /* a task of this host listens there */
  ANYWHERE = 2 /* on every address of the host, since this one is none of its own (NAT) */
};

/* The file is a header and records, all of 64 bytes, with numbers as this machine writes them. */
struct header {
  char magic[8];
  uint32_t version;
  uint32_t patience_ms;     /* how long a connection may take to show its key */
  uint32_t keepalive_s;     /* after this much silence peers are asked whether they live; 0: not changed */
  uint32_t user_timeout_ms; /* how long sent data may stay unanswered; 0: not changed */
  uint8_t unused[40];
};

struct record {
  uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
  uint16_t port, flags;
  uint8_t unused[12];
  uint8_t key[KEY_BYTES];
};

struct entry {
  struct header rules;
  struct record record;
};

bool guard_is_on(void);

/* Finds the first record with this port, all of these flags and, unless it is NULL, this address: 1 if there is one, 0 if
 * not, -1 if the file cannot be read. Reads it each time: the agent puts a new one in its place. */
int guard_find(const uint8_t *address, uint16_t port, uint16_t flags, struct entry *found);

/* The IP address and port of a socket address; false if it has none. */
bool guard_parse(const struct sockaddr *from, socklen_t size, uint8_t address[16], uint16_t *port);

bool guard_is_stream(int fd);

/* The number of the socket behind a descriptor, the same for its duplicates and never used again; 0 if it is none. */
uint64_t guard_number(int fd);

/* Has a peer that has gone silent noticed, as the header says. */
void guard_keep_alive(int fd, const struct header *rules);

/* Starts a thread that owns both descriptors: it lets who has shown the key out of ``listener`` in to the program, over
 * ``inside``, and closes both when the program has closed its end. False, and nothing is closed, if it cannot be had. */
bool guard_start_doorkeeper(int listener, int inside, const struct entry *own);
