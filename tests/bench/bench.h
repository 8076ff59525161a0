/* What the load generators share: clock, arguments, latencies, processor time. One thread, one epoll descriptor each.
 *
 * Payload is discarded inside the kernel (MSG_TRUNC) unless --compare FILE asks for every byte to be checked, or
 * --sample FILE for those of a few answers, so that the generator's core is not what is measured. Each prints "start"
 * when it starts to count, then one line of JSON, and exits 0; a wrong argument is one line and exit 2, a server that
 * misbehaves one line and exit 1. */
#ifndef BENCH_H
#define BENCH_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STALL_NS 20000000000ull /* a server silent for so long has failed: no cell is that slow */
#define SUB 64                  /* steps in each power of two of the latency histogram: 1.6 % apart */
#define LOOK_NS 50000ull        /* for what comes next, before sleeping */
#define EVICT_NS 10000000ull    /* so often --evict drops the pages of its file */

static const char *program;
static uint64_t histogram[64 * SUB], longest;
static uint64_t waited; /* nanoseconds of looking in vain: processor time without work */
static int evicted = -1; /* --evict's file */
static bool may_look = true;           /* for what comes next, before sleeping; not with --no-look */
static const unsigned char *reference; /* --compare's or --sample's file, mapped */
static size_t reference_size;

__attribute__((format(printf, 2, 3), noreturn)) static inline void die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline long number(const char *name, const char *text, long low, long high)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        die(2, "--%s: '%s' is no whole number from %ld to %ld", name, text, low, high);
    return value;
}

static inline uint64_t duration(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= 3600))
        die(2, "--seconds: '%s' is no number above 0 and up to 3600", text);
    return (uint64_t)(value * 1e9);
}

static inline struct sockaddr_in peer_address(const char *address, long port)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1)
        die(2, "--address: '%s' is no IPv4 address", address);
    return peer;
}

static inline void map_reference(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        die(2, "--compare: %s: %s", path, strerror(errno));
    reference_size = (size_t)st.st_size;
    reference = mmap(NULL, reference_size, PROT_READ, MAP_SHARED, fd, 0);
    if (reference == MAP_FAILED)
        die(2, "--compare: %s: %s", path, strerror(errno));
    close(fd);
}

static inline void compare(uint64_t offset, const void *data, size_t length)
{
    if (offset + length > reference_size || memcmp(reference + offset, data, length) != 0)
        die(1, "the bytes at offset %llu are not the file's", (unsigned long long)offset);
}

static inline void open_evicted(const char *path)
{
    evicted = open(path, O_RDONLY | O_CLOEXEC);
    if (evicted < 0)
        die(2, "--evict: %s: %s", path, strerror(errno));
}

/* Drop what memory has of --evict's file, again and again: whoever reads it waits for the disk. */
static inline void evict(uint64_t now)
{
    static uint64_t last;
    if (evicted < 0 || now - last < EVICT_NS)
        return;
    last = now;
    posix_fadvise(evicted, 0, 0, POSIX_FADV_DONTNEED);
}

static inline void record_latency(uint64_t ns)
{
    if (ns > longest)
        longest = ns;
    unsigned power = ns < SUB ? 0 : 63 - (unsigned)__builtin_clzll(ns);
    unsigned step = power < 6 ? (unsigned)ns : (unsigned)(ns >> (power - 6)) - SUB;
    histogram[(power < 6 ? 0 : power - 5) * SUB + step]++;
}

/* The latency in microseconds that a fraction of all requests did not exceed, to the histogram's step. */
static inline double quantile_us(double fraction)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < 64 * SUB; i++)
        total += histogram[i];
    for (unsigned i = 0; i < 64 * SUB; i++) {
        seen += histogram[i];
        if (total && (double)seen >= fraction * (double)total) {
            unsigned row = i / SUB;
            return row == 0 ? i / 1e3 : (double)((uint64_t)(SUB + i % SUB + 1) << (row - 1)) / 1e3;
        }
    }
    return 0;
}

/* The latencies' part of the line of JSON, and the looking that is none of theirs. One in flight at a time is what a booting machine has: each request counts once,
 * however long it took, so a server that stops for long shows in max_us, not in p99_us. */
static inline void print_latencies(void)
{
    printf("\"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f, \"waited_seconds\": %.6f", quantile_us(0.5),
           quantile_us(0.99), (double)longest / 1e3, (double)waited / 1e9);
}

static inline int tcp_connect(const struct sockaddr_in *peer)
{
    struct timeval patience = {.tv_sec = STALL_NS / 1000000000};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (const struct sockaddr *)peer, sizeof *peer) < 0)
        die(1, "connecting: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static inline void send_all(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            if (poll(&wait, 1, STALL_NS / 1000000) == 0)
                die(1, "the server takes no requests");
            continue;
        }
        if (n < 0)
            die(1, "sending: %s", strerror(errno));
        at += n;
        length -= (size_t)n;
    }
}

static inline void receive_all(int fd, void *data, size_t length)
{
    if (length == 0) /* recv would wait for a byte that it then does not take */
        return;
    ssize_t n = recv(fd, data, length, MSG_WAITALL);
    if (n < 0 || (size_t)n != length)
        die(1, "receiving: %s", n < 0 ? strerror(errno) : "the server closed the connection");
}

/* A descriptor for each client, and some to spare. */
static inline void raise_file_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline int watch(int epoll, int fd, uint32_t index, int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    return epoll_ctl(epoll, operation, fd, &event);
}

/* A look that took longer was interrupted: that time was another's. */
static inline void note_wait(uint64_t ns)
{
    waited += ns < LOOK_NS ? ns : LOOK_NS;
}

/* As epoll_wait, but looking for a while before it sleeps: whoever answers one that sleeps pays for waking it, each time,
 * which is neither the server's nor the load's figure. Where the load shares its core, it has to sleep. */
static inline int await(int epoll, struct epoll_event *events, int most, int milliseconds)
{
    int ready = epoll_wait(epoll, events, most, may_look ? 0 : milliseconds);
    if (ready || !may_look)
        return ready;
    uint64_t begin = now_ns(), now = begin;
    for (; !ready && now - begin < LOOK_NS; now = now_ns())
        ready = epoll_wait(epoll, events, most, 0);
    note_wait(now - begin);
    return ready ? ready : epoll_wait(epoll, events, most, milliseconds);
}

/* A client that asks and never reads: `words` again and again, as far as the server takes them. */
struct mute {
    int fd;
    size_t at; /* of the words, what was said */
};

static inline uint64_t speak(struct mute *mute, const char *words, size_t length)
{
    uint64_t said = 0;
    for (;;) {
        ssize_t n = send(mute->fd, words + mute->at, length - mute->at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return said;
        if (n < 0) { /* the server had enough of it */
            close(mute->fd);
            return said;
        }
        mute->at = (mute->at + (size_t)n) % length;
        said += mute->at == 0;
    }
}

/* All of them until the time is over; how often the words were said. */
static inline uint64_t speak_without_listening(struct mute *mutes, long count, const void *words, size_t length,
                                               uint64_t run_ns)
{
    struct epoll_event events[256];
    uint64_t until = now_ns() + run_ns, said = 0, now;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLOUT, .data.ptr = &mutes[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, mutes[i].fd, &event);
    }
    while ((now = now_ns()) < until) {
        int ready = epoll_wait(epoll, events, 256, (int)((until - now) / 1000000) + 1);
        for (int i = 0; i < ready; i++)
            said += speak(events[i].data.ptr, words, length);
    }
    return said;
}

/* Tell the driver that counting starts now: what came before, connecting and negotiating, is nobody's throughput. */
static inline void announce_start(void)
{
    puts("start");
    fflush(stdout);
}
#endif
