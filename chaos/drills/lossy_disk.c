/* A disk that may lose its power or fail, for one process: loaded before libc with LD_PRELOAD.

   What the process writes below LOSSY_DISK_LIVE goes to the real files as ever. What it syncs is copied to
   LOSSY_DISK_SAFE, by a file of the same name: that is all a machine still has after it lost its power. So a sync costs
   no real one. A new file is there with its first sync, as on ext4 and XFS; one that was removed is gone with the next
   sync of its directory. Renames are not followed: a file under its new name is unknown until it is synced.

   The first byte of LOSSY_DISK_SWITCH, which is mapped, makes every sync ('s') or every write ('w') fail with EIO, or
   the power fail at the next sync ('p').
   What SQLite maps itself, its -shm file, is worth nothing after a power loss and is left out. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS_MAX = 4096, FILES_MAX = 64, RANGES_MAX = 4096, CHUNK = 65536 };
enum { NOTHING = 0, DIRECTORY = -1 }; /* of `file_of`; a file is its number in `files`, from 1 on */

struct range { off_t from, to; };
struct file {
  char name[NAME_MAX + 1];
  off_t smallest; /* since the last sync: what was beyond it was cut off */
  int is_unlinked, count;
  struct range dirty[RANGES_MAX];
};

static struct file files[FILES_MAX + 1];
static int file_count;
static int file_of[FDS_MAX];
static char live[PATH_MAX], safe[PATH_MAX];
static volatile char *failing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static int (*real_ftruncate)(int, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

static void give_up(const char *what) {
  fprintf(stderr, "lossy disk: %s: %s\n", what, strerror(errno));
  abort();
}

/* Before main, or earlier when another library's beginning already opens a file. */
__attribute__((constructor)) static void begin(void) {
  if (real_open) return;
  real_close = dlsym(RTLD_NEXT, "close");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_write = dlsym(RTLD_NEXT, "write");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_open = dlsym(RTLD_NEXT, "open64");
  const char *switch_path = getenv("LOSSY_DISK_SWITCH");
  if (!getenv("LOSSY_DISK_LIVE") || !getenv("LOSSY_DISK_SAFE") || !switch_path) return;
  int fd = real_open(switch_path, O_RDWR | O_CLOEXEC);
  failing = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
  if (failing == MAP_FAILED) give_up(switch_path);
  real_close(fd);
  snprintf(safe, sizeof safe, "%s", getenv("LOSSY_DISK_SAFE"));
  snprintf(live, sizeof live, "%s", getenv("LOSSY_DISK_LIVE"));
}

/* The part of a path behind the live directory; NULL for a path elsewhere and for what is mapped. */
static const char *name_of(const char *path) {
  size_t length = strlen(live), whole = strlen(path);
  if (!length || strncmp(path, live, length) || path[length] != '/' || strchr(path + length + 1, '/')) return NULL;
  return whole > 4 && !strcmp(path + whole - 4, "-shm") ? NULL : path + length + 1;
}

static void note_range(struct file *file, off_t from, off_t to) {
  struct range *last = file->count ? &file->dirty[file->count - 1] : NULL;
  if (last && from <= last->to && to >= last->from) {
    if (from < last->from) last->from = from;
    if (to > last->to) last->to = to;
  } else if (file->count < RANGES_MAX) {
    file->dirty[file->count++] = (struct range){from, to};
  } else { /* more than fit: one that holds them all */
    for (int i = 0; i < file->count; i++) {
      if (file->dirty[i].from < from) from = file->dirty[i].from;
      if (file->dirty[i].to > to) to = file->dirty[i].to;
    }
    file->dirty[0] = (struct range){from, to};
    file->count = 1;
  }
}

/* A file that is new to this process may hold what an earlier life has written and never synced. */
static int number_of(const char *name, int fd) {
  struct stat now;
  for (int i = 1; i <= file_count; i++)
    if (!strcmp(files[i].name, name)) return i;
  if (file_count == FILES_MAX) give_up("too many files");
  snprintf(files[++file_count].name, sizeof files[0].name, "%s", name);
  files[file_count].smallest = LLONG_MAX;
  if (fd >= 0 && !fstat(fd, &now)) note_range(&files[file_count], 0, now.st_size);
  return file_count;
}

static struct file *tracked(int fd) { return fd >= 0 && fd < FDS_MAX && file_of[fd] > 0 ? &files[file_of[fd]] : NULL; }

static void safe_path(char *path, const struct file *file) {
  if (snprintf(path, PATH_MAX, "%s/%s", safe, file->name) >= PATH_MAX) give_up("path too long");
}

/* Whatever it was opened for, it can be read. */
static int open_again(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return real_open(path, O_RDONLY | O_CLOEXEC);
}

static void copy_range(int from_fd, int to_fd, off_t from, off_t to) {
  char chunk[CHUNK];
  while (from < to) {
    ssize_t size = pread(from_fd, chunk, to - from < CHUNK ? to - from : CHUNK, from);
    if (size == 0) return; /* cut off since */
    if (size < 0 || real_pwrite(to_fd, chunk, size, from) != size) give_up("copy");
    from += size;
  }
}

static void keep(int fd, struct file *file) {
  char path[PATH_MAX];
  struct stat now, before;
  safe_path(path, file);
  int live_fd = open_again(fd), safe_fd = real_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (live_fd < 0 || safe_fd < 0 || fstat(live_fd, &now) || fstat(safe_fd, &before)) give_up(path);
  if (file->smallest < before.st_size && real_ftruncate(safe_fd, file->smallest)) give_up(path);
  if (real_ftruncate(safe_fd, now.st_size)) give_up(path);
  for (int i = 0; i < file->count; i++) copy_range(live_fd, safe_fd, file->dirty[i].from, file->dirty[i].to);
  real_close(live_fd);
  real_close(safe_fd);
  file->count = file->is_unlinked = 0;
  file->smallest = LLONG_MAX;
}

static void forget_unlinked(void) {
  char path[PATH_MAX];
  for (int i = 1; i <= file_count; i++) {
    if (!files[i].is_unlinked) continue;
    safe_path(path, &files[i]);
    real_unlink(path);
    files[i].is_unlinked = 0;
  }
}

static int sync_file(int fd, int (**real)(int)) {
  begin();
  if (fd < 0 || fd >= FDS_MAX || file_of[fd] == NOTHING) return (*real)(fd);
  pthread_mutex_lock(&lock);
  if (*failing == 'p') kill(getpid(), SIGKILL);
  int is_failing = *failing == 's';
  if (!is_failing && file_of[fd] == DIRECTORY) forget_unlinked();
  else if (!is_failing) keep(fd, tracked(fd));
  pthread_mutex_unlock(&lock);
  if (is_failing) errno = EIO;
  return is_failing ? -1 : 0;
}

static int opened(const char *path, int flags, int fd) {
  if (fd < 0 || fd >= FDS_MAX || !live[0]) return fd;
  const char *name = name_of(path);
  pthread_mutex_lock(&lock);
  file_of[fd] = name ? number_of(name, fd) : strcmp(path, live) ? NOTHING : DIRECTORY;
  if (name && flags & O_TRUNC) tracked(fd)->smallest = tracked(fd)->count = 0;
  pthread_mutex_unlock(&lock);
  return fd;
}

#define OPEN(symbol)                                                   \
  int symbol(const char *path, int flags, ...) {                       \
    va_list arguments;                                                 \
    va_start(arguments, flags);                                        \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0; \
    va_end(arguments);                                                 \
    begin();                                                           \
    return opened(path, flags, real_open(path, flags, mode));          \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  begin();
  if (fd >= 0 && fd < FDS_MAX) file_of[fd] = NOTHING;
  return real_close(fd);
}

int unlink(const char *path) {
  begin();
  int result = real_unlink(path);
  const char *name = name_of(path);
  if (!result && name) {
    pthread_mutex_lock(&lock);
    struct file *file = &files[number_of(name, -1)];
    file->is_unlinked = 1;
    file->smallest = file->count = 0;
    pthread_mutex_unlock(&lock);
  }
  return result;
}

static int truncated(int fd, off_t size) {
  begin();
  struct file *file = tracked(fd);
  if (file) {
    pthread_mutex_lock(&lock);
    if (size < file->smallest) file->smallest = size;
    pthread_mutex_unlock(&lock);
  }
  return real_ftruncate(fd, size);
}
int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off_t size) { return truncated(fd, size); }

static ssize_t written(int fd, const void *bytes, size_t size, off_t offset) {
  begin();
  struct file *file = tracked(fd);
  if (!file) return offset < 0 ? real_write(fd, bytes, size) : real_pwrite(fd, bytes, size, offset);
  if (*failing == 'w') {
    errno = EIO;
    return -1;
  }
  pthread_mutex_lock(&lock);
  off_t from = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
  ssize_t done = offset < 0 ? real_write(fd, bytes, size) : real_pwrite(fd, bytes, size, offset);
  if (done > 0) note_range(file, from, from + done);
  pthread_mutex_unlock(&lock);
  return done;
}
ssize_t write(int fd, const void *bytes, size_t size) { return written(fd, bytes, size, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return written(fd, bytes, size, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) { return written(fd, bytes, size, offset); }

int fsync(int fd) { return sync_file(fd, &real_fsync); }
int fdatasync(int fd) { return sync_file(fd, &real_fdatasync); }
