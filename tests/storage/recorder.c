/* Preloaded into a process, notes what it does to one file (RECORD_OF) in another (RECORD_TO): every write, hole and
 * flush, each once it has succeeded, in order. What power loss could have left of the file is made of that.
 * With RECORD_LIES it is a disk that lies, so that tests can be seen to notice: flushes do nothing, and what is written
 * from that offset on is not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) record {
    char kind; /* w, p or s */
    uint64_t offset, length;
};

static int log_fd(int fd) {
    static int to = -1;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return -1;
    path[length] = 0;
    const char *wanted = getenv("RECORD_OF");
    if (!wanted || strcmp(path, wanted))
        return -1;
    if (to < 0)
        to = open(getenv("RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    return to;
}

static void note(int fd, char kind, uint64_t offset, uint64_t length, const void *data) {
    int to = log_fd(fd);
    if (to < 0)
        return;
    struct record record = {kind, offset, length};
    struct iovec parts[2] = {{&record, sizeof record}, {(void *) data, data ? length : 0}};
    if (writev(to, parts, 2) < 0)
        abort();
}

static int lies(int fd, off_t offset) {
    const char *from = getenv("RECORD_LIES");
    return from && offset >= atoll(from) && log_fd(fd) >= 0;
}

#define REAL(name, type) ((type) dlsym(RTLD_NEXT, name))
typedef ssize_t (*pwrite_t)(int, const void *, size_t, off_t);
typedef int (*fallocate_t)(int, int, off_t, off_t);

static ssize_t noted_write(const char *name, int fd, const void *data, size_t length, off_t offset) {
    if (lies(fd, offset))
        return length;
    ssize_t done = REAL(name, pwrite_t)(fd, data, length, offset);
    if (done > 0)
        note(fd, 'w', offset, done, data);
    return done;
}

static int noted_punch(const char *name, int fd, int mode, off_t offset, off_t length) {
    int failed = REAL(name, fallocate_t)(fd, mode, offset, length);
    if (!failed)
        note(fd, 'p', offset, length, NULL);
    return failed;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return noted_write("pwrite", fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    return noted_write("pwrite64", fd, data, length, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return noted_punch("fallocate", fd, mode, offset, length); }

int fallocate64(int fd, int mode, off_t offset, off_t length) {
    return noted_punch("fallocate64", fd, mode, offset, length);
}

int fdatasync(int fd) {
    if (lies(fd, INT64_MAX))
        return 0;
    int failed = REAL("fdatasync", int (*)(int))(fd);
    if (!failed)
        note(fd, 's', 0, 0, NULL);
    return failed;
}
