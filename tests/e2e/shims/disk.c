// LD_PRELOAD: a disk that fails. SHIM_DISK names a file with "CALL ERRNO FIRST LAST": of the calls with this name ("sync" is fsync and fdatasync,
// "write" is pwrite, "read" is pread) on a file whose name has SHIM_FILES in it, those from number FIRST to LAST fail with this error. No file: none fails.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long counted;

static int concerns(int descriptor) {
  const char* wanted = getenv("SHIM_FILES");
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0 || !wanted)
    return 0;
  path[length] = 0;
  return strstr(path, wanted) != NULL;
}

// Whether this call fails; errno is set then.
static int fails(const char* call, int descriptor) {
  const char* path = getenv("SHIM_DISK");
  FILE* plan = path ? fopen(path, "re") : NULL;
  if (!plan)
    return 0;
  char which[16] = "";
  int error = 0;
  long first = 0, last = 0;
  const int read = fscanf(plan, "%15s %d %ld %ld", which, &error, &first, &last);
  fclose(plan);
  if (read != 4 || strcmp(which, call) != 0 || !concerns(descriptor))
    return 0;
  const long number = ++counted;
  if (number < first || number > last)
    return 0;
  errno = error;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int descriptor) {
  return fails("sync", descriptor) ? -1 : REAL(fsync)(descriptor);
}
int fdatasync(int descriptor) {
  return fails("sync", descriptor) ? -1 : REAL(fdatasync)(descriptor);
}
ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t at) {
  return fails("write", descriptor) ? -1 : REAL(pwrite)(descriptor, bytes, count, at);
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off64_t at) {
  return fails("write", descriptor) ? -1 : REAL(pwrite64)(descriptor, bytes, count, at);
}
ssize_t pread(int descriptor, void* bytes, size_t count, off_t at) {
  return fails("read", descriptor) ? -1 : REAL(pread)(descriptor, bytes, count, at);
}
ssize_t pread64(int descriptor, void* bytes, size_t count, off64_t at) {
  return fails("read", descriptor) ? -1 : REAL(pread64)(descriptor, bytes, count, at);
}
