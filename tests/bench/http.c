/* HTTP/1.1 GETs of one file by many clients over keep-alive, again and again. */
#include "bench.h"

#define HEAD_MAX 8192
#define DISCARD (4 << 20) /* bytes dropped in the kernel at once */

struct client {
    int fd;
    uint64_t left;  /* bytes of the body still to come */
    uint64_t at;    /* offset in the body */
    uint64_t began;
    size_t have;    /* bytes of the head so far */
    char head[HEAD_MAX + 1];
};

static const char *address = "127.0.0.1", *path = "/";
static long port = 80, clients = 1;
static uint64_t run_ns = 1000000000ull, deadline, bytes, total_bytes, answers;
static struct client *all;
static char request[1200];
static size_t request_length;
static unsigned char *scratch;
static bool is_mute;

static void ask(struct client *c)
{
    c->have = 0;
    c->at = 0;
    c->began = now_ns();
    send_all(c->fd, request, request_length);
}

static void count(struct client *c, uint64_t length)
{
    c->left -= length;
    c->at += length;
    total_bytes += length;
    uint64_t now = now_ns();
    if (now < deadline)
        bytes += length;
    if (c->left == 0) {
        record_latency(now - c->began);
        answers++;
        ask(c);
    }
}

/* The head of an answer; body bytes that came with it are left behind in the socket, for it was peeked at. */
static void on_head(struct client *c)
{
    ssize_t n = recv(c->fd, c->head, HEAD_MAX, MSG_PEEK);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die(1, "receiving: %s", n ? strerror(errno) : "the server closed the connection");
    c->head[n] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (n == HEAD_MAX)
            die(1, "an answer whose head has no end");
        return;
    }
    end[2] = 0;
    char *length = strcasestr(c->head, "\r\nContent-Length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !length)
        die(1, "an answer of another kind: %.*s", (int)strcspn(c->head, "\r\n"), c->head);
    c->left = strtoull(length + 17, NULL, 10);
    if (!c->left)
        die(1, "an empty file");
    receive_all(c->fd, c->head, (size_t)(end + 4 - c->head));
}

static void on_readable(struct client *c)
{
    if (c->left == 0) {
        on_head(c);
        if (c->left == 0)
            return;
    }
    ssize_t n = recv(c->fd, scratch, c->left < DISCARD ? c->left : DISCARD, reference ? 0 : MSG_TRUNC);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die(1, "receiving: %s", n ? strerror(errno) : "the server closed the connection");
    if (reference)
        compare(c->at, scratch, (size_t)n);
    count(c, (uint64_t)n);
}

static void run(int epoll)
{
    struct epoll_event events[256];
    uint64_t heard = now_ns();
    deadline = heard + run_ns;
    for (long i = 0; i < clients; i++)
        ask(&all[i]);
    while (now_ns() < deadline) {
        int ready = await(epoll, events, 256, 50);
        for (int i = 0; i < ready; i++)
            on_readable(&all[events[i].data.u32]);
        if (ready)
            heard = now_ns();
        else if (now_ns() - heard > STALL_NS)
            die(1, "the server answers no more");
        evict(now_ns());
    }
}

/* Every client asks as often as the server takes it, and reads nothing. */
static void run_mute(void)
{
    struct mute *mutes = calloc((size_t)clients, sizeof *mutes);
    for (long i = 0; i < clients; i++)
        mutes[i].fd = all[i].fd;
    speak_without_listening(mutes, clients, request, request_length, run_ns);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'},    {"path", 1, 0, 'f'}, {"clients", 1, 0, 'c'},
        {"seconds", 1, 0, 't'}, {"compare", 1, 0, 'm'}, {"mute", 0, 0, 'u'}, {"evict", 1, 0, 'v'},
        {"no-look", 0, 0, 'k'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'a': address = optarg; break;
        case 'p': port = number("port", optarg, 1, 65535); break;
        case 'f': path = optarg; break;
        case 'c': clients = number("clients", optarg, 1, 10000); break;
        case 't': run_ns = duration(optarg); break;
        case 'm': map_reference(optarg); break;
        case 'u': is_mute = true; break;
        case 'v': open_evicted(optarg); break;
        case 'k': may_look = false; break;
        default: exit(2); /* getopt has said why */
        }
    if (optind < argc)
        die(2, "surplus argument '%s'", argv[optind]);
    if (path[0] != '/' || strlen(path) > 1000)
        die(2, "--path: '%.40s' is no path from / of up to 1000 bytes", path);
}

int main(int argc, char **argv)
{
    program = "http";
    argv[0] = "http";
    parse(argc, argv);
    raise_file_limit();
    struct sockaddr_in peer = peer_address(address, port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)clients, sizeof *all);
    scratch = malloc(DISCARD);
    request_length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address);
    for (long i = 0; i < clients; i++) {
        all[i].fd = tcp_connect(&peer);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        watch(epoll, all[i].fd, (uint32_t)i, EPOLL_CTL_ADD);
    }
    announce_start();
    double cpu = cpu_seconds();
    if (is_mute)
        run_mute();
    else
        run(epoll);
    cpu = cpu_seconds() - cpu;
    printf("{\"requests\": %llu, \"bytes\": %llu, \"total_bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, ",
           (unsigned long long)answers, (unsigned long long)bytes, (unsigned long long)total_bytes,
           (double)run_ns / 1e9, cpu);
    print_latencies();
    puts("}");
    return 0;
}
