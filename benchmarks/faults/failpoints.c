/* Stands before the C library's calls that change a disk, in processes that it was loaded into
 * with LD_PRELOAD. Counts them in the one process that its orders name, and at the call that they
 * name kills it or fails with an error. Orders and log are a file in shared memory (failpoints.py
 * knows the same layout), so that watching makes no system call that writes. A call that a program
 * makes without the C library is not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define NAME 20
#define MOST 65536
#define CREATES 1
#define INJECTED 2

static struct {
  volatile int32_t pid;  /* whom to watch; nobody if 0 */
  int32_t error;         /* what to fail with; -1: kill */
  uint32_t number;       /* at the how manieth call of a thread; 0: never */
  volatile uint32_t num_met;
  char call[NAME];
  struct { int32_t thread, flags; char call[NAME]; } met[MOST];
} *orders;

__attribute__((constructor)) static void open_orders(void) {
  const char *path = getenv("AUDIOMILL_FAILPOINTS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *memory = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) orders = memory;
  close(fd);
}

/* The error with which this call is to fail; 0 for none. `seen` counts the thread's. */
static int meet(const char *call, unsigned *seen, int flags) {
  if (!orders || orders->pid != getpid()) return 0;
  int is_it = ++*seen == orders->number && !strcmp(call, orders->call);
  uint32_t index = __sync_fetch_and_add(&orders->num_met, 1);
  if (index < MOST) {
    orders->met[index].thread = gettid();
    orders->met[index].flags = flags | (is_it ? INJECTED : 0);
    strcpy(orders->met[index].call, call);
  }
  while (is_it && orders->error < 0) kill(getpid(), SIGKILL);
  return is_it ? orders->error : 0;
}

/* `name` counts as system call `as`; of those with several names the count is one. */
#define COUNT(as) static __thread unsigned seen_##as;
#define REAL(type, name, types) \
  static type(*real) types; \
  if (!real) real = dlsym(RTLD_NEXT, #name);
#define WRAP(type, name, as, types, arguments) \
  type name types { \
    REAL(type, name, types) \
    int error = meet(#as, &seen_##as, 0); \
    if (error) { errno = error; return -1; } \
    return real arguments; \
  }
#define WRAP_OPEN(name, before, arguments) \
  int name(before const char *path, int flags, ...) { \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    REAL(int, name, (before const char *, int, ...)) \
    int error = meet("openat", &seen_openat, flags & O_CREAT ? CREATES : 0); \
    if (error) { errno = error; return -1; } \
    return real arguments; \
  }
#define WRAP_POSIX(name, of) \
  int name(int fd, of at, of length) { \
    REAL(int, name, (int, of, of)) \
    int error = meet("fallocate", &seen_fallocate, 0); \
    return error ? error : real(fd, at, length); \
  }
#define DIRECTORY int directory,

COUNT(openat) COUNT(write) COUNT(pwrite64) COUNT(writev) COUNT(fsync) COUNT(fdatasync)
COUNT(sync_file_range) COUNT(ftruncate) COUNT(fallocate) COUNT(rename) COUNT(renameat)
COUNT(renameat2) COUNT(link) COUNT(linkat) COUNT(unlink) COUNT(unlinkat) COUNT(mkdir)
COUNT(mkdirat) COUNT(rmdir) COUNT(symlink) COUNT(symlinkat) COUNT(sendfile)
COUNT(copy_file_range)

WRAP_OPEN(open, , (path, flags, mode))
WRAP_OPEN(open64, , (path, flags, mode))
WRAP_OPEN(openat, DIRECTORY, (directory, path, flags, mode))
WRAP_OPEN(openat64, DIRECTORY, (directory, path, flags, mode))
WRAP(ssize_t, write, write, (int fd, const void *data, size_t size), (fd, data, size))
WRAP(ssize_t, pwrite, pwrite64, (int fd, const void *data, size_t size, off_t at),
     (fd, data, size, at))
WRAP(ssize_t, pwrite64, pwrite64, (int fd, const void *data, size_t size, off64_t at),
     (fd, data, size, at))
WRAP(ssize_t, writev, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
WRAP(int, fsync, fsync, (int fd), (fd))
WRAP(int, fdatasync, fdatasync, (int fd), (fd))
WRAP(int, sync_file_range, sync_file_range, (int fd, off64_t at, off64_t size, unsigned flags),
     (fd, at, size, flags))
WRAP(int, ftruncate, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, ftruncate, (int fd, off64_t size), (fd, size))
WRAP(int, fallocate, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
WRAP(int, fallocate64, fallocate, (int fd, int mode, off64_t at, off64_t size),
     (fd, mode, at, size))
WRAP_POSIX(posix_fallocate, off_t)
WRAP_POSIX(posix_fallocate64, off64_t)
WRAP(int, rename, rename, (const char *from, const char *to), (from, to))
WRAP(int, renameat, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, renameat2, renameat2,
     (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
WRAP(int, link, link, (const char *from, const char *to), (from, to))
WRAP(int, linkat, linkat, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
WRAP(int, unlink, unlink, (const char *path), (path))
WRAP(int, unlinkat, unlinkat, (int directory, const char *path, int flags),
     (directory, path, flags))
WRAP(int, mkdir, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, mkdirat, (int directory, const char *path, mode_t mode),
     (directory, path, mode))
WRAP(int, rmdir, rmdir, (const char *path), (path))
WRAP(int, symlink, symlink, (const char *to, const char *path), (to, path))
WRAP(int, symlinkat, symlinkat, (const char *to, int directory, const char *path),
     (to, directory, path))
WRAP(ssize_t, sendfile, sendfile, (int to, int from, off_t *at, size_t size),
     (to, from, at, size))
WRAP(ssize_t, sendfile64, sendfile, (int to, int from, off64_t *at, size_t size),
     (to, from, at, size))
WRAP(ssize_t, copy_file_range, copy_file_range,
     (int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags),
     (from, at, to, there, size, flags))
