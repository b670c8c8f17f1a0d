/* Makes the n-th write, sync or truncation of one file fail, tears it, or ends the process before it.

   Built by test_audit_faults.py and loaded with LD_PRELOAD; fault_trials.py arms it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { ONCE, FROM_THEN_ON, TORN, KILLED };

static char target[512];
static long at, seen, cut;
static int number, mode;

/* From now on, operation `n` (1, 2, …) on files whose path holds `name` fails with `error`; none where n is 0.
   TORN writes the first `bytes` bytes, and like KILLED ends the process as a power failure would. */
void fault_arm(const char *name, long n, int error, int how, long bytes) {
  snprintf(target, sizeof target, "%s", name);
  at = n, seen = 0, number = error, mode = how, cut = bytes;
}

long fault_seen(void) { return seen; }

static int strikes(int fd) {
  char link[64], path[512];
  if (!target[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, target)) return 0;
  seen++;
  return at && (seen == at || (mode == FROM_THEN_ON && seen > at));
}

static int fail(void) {
  if (mode == TORN || mode == KILLED) kill(getpid(), SIGKILL);
  errno = number;
  return -1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITER(name, offset)                                            \
  ssize_t name(int fd, const void *data, size_t size, offset place) {   \
    REAL(name);                                                         \
    if (!strikes(fd)) return real(fd, data, size, place);               \
    if (mode == TORN) real(fd, data, (size_t)cut < size ? (size_t)cut : size, place); \
    return fail();                                                      \
  }
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  if (!strikes(fd)) return real(fd, data, size);
  if (mode == TORN) real(fd, data, (size_t)cut < size ? (size_t)cut : size);
  return fail();
}

#define SYNC(name)                                    \
  int name(int fd) {                                  \
    REAL(name);                                       \
    return strikes(fd) ? fail() : real(fd);           \
  }
SYNC(fsync)
SYNC(fdatasync)

#define CUTTER(name, offset)                          \
  int name(int fd, offset size) {                     \
    REAL(name);                                       \
    return strikes(fd) ? fail() : real(fd, size);     \
  }
CUTTER(ftruncate, off_t)
CUTTER(ftruncate64, off64_t)
