// A library for LD_PRELOAD: the wall clock of one process stands so many nanoseconds ahead of the machine's as the file
// that SHIFTED_CLOCK names holds (an int64; may be changed meanwhile). The monotonic clock stays, so waits keep their
// lengths. libfaketime would do this, but it reads its settings inside clock_gettime, where jemalloc calls it before it
// is ready.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t kSecond = 1000000000;
static const int64_t* shift;  // null: none (yet)

__attribute__((constructor)) static void open_shift(void) {
  const char* const name = getenv("SHIFTED_CLOCK");
  if (name == NULL) return;
  const int file = open(name, O_RDONLY | O_CLOEXEC);
  void* const page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) {
    dprintf(STDERR_FILENO, "SHIFTED_CLOCK is '%s': %s\n", name, strerror(errno));
    _exit(127);
  }
  close(file);
  shift = page;
}

int clock_gettime(clockid_t clock, struct timespec* time) {
  const int result = (int)syscall(SYS_clock_gettime, clock, time);
  if (result != 0 || shift == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
  const int64_t now = time->tv_sec * kSecond + time->tv_nsec + __atomic_load_n(shift, __ATOMIC_RELAXED);
  time->tv_sec = now / kSecond;
  time->tv_nsec = now % kSecond;
  return 0;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place != NULL) *place = now.tv_sec;
  return now.tv_sec;
}
