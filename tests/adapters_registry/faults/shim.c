/* Stands before the C library's calls that change files below one directory: counts them, and makes one of them fail,
   ends the process there, or writes all of them down. Loaded by LD_PRELOAD; told what to do through a mapped file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT = 0, KILL = -1, TEAR = -2, RECORD = -3 }; /* or the errno to fail with */

struct control {            /* as faults/shim.py packs it */
    long count;             /* calls so far */
    long first, last;       /* the calls that are concerned */
    long action;
    long active;
    char directory[1000];
    char record[1000];
};

static struct control *told;
static int record_fd = -1;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("REGISTRY_TEST_FAULTS");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0) return;
    void *mapped = mmap(0, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) told = mapped;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int concerns(const char *path)
{
    size_t length;
    if (!told || !told->active) return 0;
    length = strlen(told->directory);
    return strncmp(path, told->directory, length) == 0 && (path[length] == '/' || !path[length]);
}

static int path_of(int fd, char *path, size_t size)
{
    char link[64];
    ssize_t length;
    if (!told || !told->active) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return concerns(path);
}

static void record(const char *call, const char *path, const char *other, long at, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    char head[2200];
    int length;
    if (record_fd < 0) record_fd = open(told->record, O_WRONLY | O_APPEND);
    if (!real) real = next("write");
    length = snprintf(head, sizeof head, "%s\t%s\t%s\t%ld\t%zu\n", call, path, other, at, size);
    if (real(record_fd, head, length) != length || real(record_fd, data, size) != (ssize_t)size) abort();
}

/* Whether the call is to fail; sets errno. A torn one returns 1 without: the caller writes half, then ends it all.
   What frees space goes well on a full disk too. */
static int struck(int frees)
{
    long number = __atomic_add_fetch(&told->count, 1, __ATOMIC_SEQ_CST);
    if (number < told->first || number > told->last || (frees && told->action == ENOSPC)) return 0;
    if (told->action == KILL) kill(getpid(), SIGKILL);
    if (told->action == TEAR) return 1;
    if (told->action > 0) {
        errno = told->action;
        return 1;
    }
    return 0;
}

static int recording(void)
{
    return told->action == RECORD;
}

static ssize_t torn(int fd, const void *data, size_t size, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = next("pwrite");
    ssize_t done = real(fd, data, size / 2, at);
    kill(getpid(), SIGKILL);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    char path[4096];
    if (!real) real = next("write");
    if (path_of(fd, path, sizeof path)) {
        off_t at = lseek(fd, 0, SEEK_CUR);
        if (struck(0)) return told->action == TEAR ? torn(fd, data, size, at) : -1;
        if (recording()) record("write", path, "", at, data, size);
    }
    return real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    char path[4096];
    if (!real) real = next("pwrite64");
    if (path_of(fd, path, sizeof path)) {
        if (struck(0)) return told->action == TEAR ? torn(fd, data, size, at) : -1;
        if (recording()) record("write", path, "", at, data, size);
    }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

/* Calls on a descriptor that change no bytes, or cut them. */
#define ON_DESCRIPTOR(name, parameters, arguments, length)                                                            \
    int name parameters                                                                                               \
    {                                                                                                                 \
        static int(*real) parameters;                                                                                 \
        char path[4096];                                                                                              \
        if (!real) real = next(#name);                                                                                \
        if (path_of(fd, path, sizeof path)) {                                                                         \
            if (struck(length == 0)) return told->action == TEAR ? kill(getpid(), SIGKILL) : -1;                      \
            if (recording()) record(length < 0 ? "sync" : "truncate", path, "", length, "", 0);                       \
        }                                                                                                             \
        return real arguments;                                                                                        \
    }

ON_DESCRIPTOR(fsync, (int fd), (fd), -1L)
ON_DESCRIPTOR(fdatasync, (int fd), (fd), -1L)
ON_DESCRIPTOR(ftruncate, (int fd, off_t length), (fd, length), (long)length)
ON_DESCRIPTOR(ftruncate64, (int fd, off64_t length), (fd, length), (long)length)

/* Calls on names. */
#define ON_NAME(name, parameters, arguments, label, path, other)                                                      \
    int name parameters                                                                                               \
    {                                                                                                                 \
        static int(*real) parameters;                                                                                 \
        int status;                                                                                                   \
        if (!real) real = next(#name);                                                                                \
        if (!concerns(path)) return real arguments;                                                                   \
        if (struck(label[0] == 'u')) return told->action == TEAR ? kill(getpid(), SIGKILL) : -1;                      \
        status = real arguments;                                                                                      \
        if (recording()) record(status ? "nothing" : label, path, other, 0, "", 0);                                   \
        return status;                                                                                                \
    }

ON_NAME(rename, (const char *from, const char *to), (from, to), "rename", from, to)
ON_NAME(unlink, (const char *path), (path), "unlink", path, "")
ON_NAME(mkdir, (const char *path, mode_t mode), (path, mode), "mkdir", path, "")
ON_NAME(rmdir, (const char *path), (path), "unlink", path, "")
ON_NAME(utimensat, (int at, const char *path, const struct timespec times[2], int flags), (at, path, times, flags),
        "touch", path, "")

/* Only those that make a file. */
#define OPENING(name)                                                                                                 \
    int name(const char *path, int flags, ...)                                                                        \
    {                                                                                                                 \
        static int (*real)(const char *, int, ...);                                                                   \
        mode_t mode = 0;                                                                                              \
        int fd;                                                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                          \
            va_list rest;                                                                                             \
            va_start(rest, flags);                                                                                    \
            mode = va_arg(rest, mode_t);                                                                              \
            va_end(rest);                                                                                             \
        }                                                                                                             \
        if (!real) real = next(#name);                                                                                \
        if (!(flags & O_CREAT) || !concerns(path) || access(path, F_OK) == 0) return real(path, flags, mode);         \
        if (struck(0)) return told->action == TEAR ? kill(getpid(), SIGKILL) : -1;                                     \
        fd = real(path, flags, mode);                                                                                 \
        if (recording()) record(fd < 0 ? "nothing" : "create", path, "", 0, "", 0);                                   \
        return fd;                                                                                                    \
    }

OPENING(open)
OPENING(open64)
