/* NBD reads: connections x requests in flight, random or sequential; fixed newstyle, simple replies (NBD proto.md). */
#include "bench.h"

#define CHUNK (256 * 1024)        /* bytes taken from a socket at once while replies are small */
#define DISCARD_FROM (16 * 1024)  /* payloads from here on are dropped in the kernel; below, one bulk read is cheaper */
#define REPLY_MAGIC 0x67446698u
#define REQUEST_MAGIC 0x25609513u
#define OPTION_MAGIC 0x49484156454F5054ull
#define OPTION_REPLY_MAGIC 0x0003e889045565a9ull

struct request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t length;
} __attribute__((packed));

struct slot {
    uint64_t offset, sent;
};

struct connection {
    int fd;
    uint8_t header[16]; /* of the reply that is coming in */
    unsigned have;      /* bytes of it */
    uint32_t left;      /* bytes of its payload still to come */
    uint64_t next;      /* offset of the next sequential request */
    struct slot *slots;
};

static const char *address = "127.0.0.1", *export_name = "";
static long port = 10809, connections = 1, depth = 1, size = 4096;
static bool sequential, use_go, is_mute;
static uint64_t run_ns = 1000000000ull, export_size, seed = 88172645463325252ull, deadline;
static uint64_t requests, total, in_flight;
static struct connection *all;
static struct request *batch;

static void ask_go(int fd)
{
    struct {
        uint64_t magic;
        uint32_t option, length, name;
    } __attribute__((packed)) head = {htobe64(OPTION_MAGIC), htobe32(7), htobe32((uint32_t)strlen(export_name) + 6),
                                      htobe32((uint32_t)strlen(export_name))};
    send_all(fd, &head, sizeof head);
    send_all(fd, export_name, strlen(export_name));
    send_all(fd, "\0\0", 2);
    for (;;) {
        struct {
            uint64_t magic;
            uint32_t option, type, length;
        } __attribute__((packed)) reply;
        uint8_t body[4096];
        receive_all(fd, &reply, sizeof reply);
        uint32_t type = be32toh(reply.type), length = be32toh(reply.length);
        if (be64toh(reply.magic) != OPTION_REPLY_MAGIC || length > sizeof body)
            die(1, "the server's answer to GO is none");
        receive_all(fd, body, length);
        if (type == 1)
            return;
        if (type & 0x80000000u)
            die(1, "export '%s' was refused: %#x", export_name, type);
        if (type == 3 && length >= 12 && body[0] == 0 && body[1] == 0)
            memcpy(&export_size, body + 2, 8);
    }
}

static void ask_export_name(int fd, bool zeroes)
{
    struct {
        uint64_t magic;
        uint32_t option, length;
    } __attribute__((packed)) head = {htobe64(OPTION_MAGIC), htobe32(1), htobe32((uint32_t)strlen(export_name))};
    uint8_t body[134];
    send_all(fd, &head, sizeof head);
    send_all(fd, export_name, strlen(export_name));
    receive_all(fd, body, zeroes ? sizeof body : 10);
    memcpy(&export_size, body, 8);
}

static int connect_export(const struct sockaddr_in *peer)
{
    struct {
        uint64_t magic, option;
        uint16_t flags;
    } __attribute__((packed)) greeting;
    int fd = tcp_connect(peer);
    receive_all(fd, &greeting, sizeof greeting);
    if (be64toh(greeting.option) != OPTION_MAGIC)
        die(1, "no fixed newstyle server");
    uint32_t flags = htobe32(be16toh(greeting.flags) & 3); /* fixed newstyle, no zeroes: what it offers */
    send_all(fd, &flags, sizeof flags);
    if (use_go)
        ask_go(fd);
    else
        ask_export_name(fd, !(be16toh(greeting.flags) & 2));
    export_size = be64toh(export_size);
    if (export_size < (uint64_t)size)
        die(1, "export '%s' is smaller than a request", export_name);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static uint64_t next_offset(struct connection *c)
{
    if (sequential) {
        uint64_t offset = c->next;
        c->next = offset + 2 * (uint64_t)size <= export_size ? offset + (uint64_t)size : 0;
        return offset;
    }
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift64 */
    return seed % (export_size / (uint64_t)size) * (uint64_t)size;
}

static void prepare(struct connection *c, unsigned slot, struct request *out, uint64_t now)
{
    c->slots[slot] = (struct slot){next_offset(c), now};
    *out = (struct request){htobe32(REQUEST_MAGIC), 0, 0, slot, htobe64(c->slots[slot].offset), htobe32((uint32_t)size)};
    in_flight++;
}

static unsigned on_reply(struct connection *c, struct request *out, uint64_t now)
{
    uint64_t cookie;
    memcpy(&cookie, c->header + 8, 8);
    record_latency(now - c->slots[cookie].sent);
    c->have = 0;
    in_flight--;
    total++;
    if (now >= deadline)
        return 0;
    requests++;
    prepare(c, (unsigned)cookie, out, now);
    return 1;
}

static void check_header(struct connection *c)
{
    uint32_t magic, error;
    uint64_t cookie;
    memcpy(&magic, c->header, 4);
    memcpy(&error, c->header + 4, 4);
    memcpy(&cookie, c->header + 8, 8);
    if (be32toh(magic) != REPLY_MAGIC || error || cookie >= (uint64_t)depth)
        die(1, "a reply with magic %#x, error %u, cookie %llu", be32toh(magic), be32toh(error),
            (unsigned long long)cookie);
    c->left = (uint32_t)size;
}

/* Payload of the reply that is coming in: count it off, and compare it when asked to. */
static void take(struct connection *c, const uint8_t *data, uint32_t length)
{
    uint64_t cookie;
    if (reference) {
        memcpy(&cookie, c->header + 8, 8);
        compare(c->slots[cookie].offset + (uint64_t)size - c->left, data, length);
    }
    c->left -= length;
}

static void on_readable(struct connection *c)
{
    static uint8_t scratch[CHUNK];
    unsigned asked = 0;
    bool large = size >= DISCARD_FROM && !reference;
    for (;;) {
        bool body = large && c->left;
        size_t want = body ? c->left : large ? 16 - c->have : CHUNK;
        ssize_t n = recv(c->fd, scratch, want, body ? MSG_TRUNC : 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            die(1, "receiving: %s", n ? strerror(errno) : "the server closed the connection");
        if (n < 0)
            break;
        uint64_t now = now_ns();
        if (body) {
            c->left -= (uint32_t)n;
            if (!c->left)
                asked += on_reply(c, &batch[asked], now);
        } else {
            for (uint8_t *at = scratch, *end = scratch + n; at < end;) {
                if (c->left == 0) {
                    size_t part = 16 - c->have < (size_t)(end - at) ? 16 - c->have : (size_t)(end - at);
                    memcpy(c->header + c->have, at, part);
                    at += part;
                    if ((c->have += (unsigned)part) == 16)
                        check_header(c);
                } else {
                    uint32_t part = c->left < end - at ? c->left : (uint32_t)(end - at);
                    take(c, at, part);
                    at += part;
                    if (!c->left)
                        asked += on_reply(c, &batch[asked], now);
                }
            }
        }
        if ((size_t)n < want || (!large && (unsigned)depth == asked))
            break;
    }
    if (asked)
        send_all(c->fd, batch, asked * sizeof *batch);
}

static void start(int epoll, const struct sockaddr_in *peer)
{
    for (long i = 0; i < connections; i++) {
        struct connection *c = &all[i];
        c->fd = connect_export(peer);
        c->slots = calloc((size_t)depth, sizeof *c->slots);
        c->next = export_size / (uint64_t)connections * (uint64_t)i / (uint64_t)size * (uint64_t)size;
        if (watch(epoll, c->fd, (uint32_t)i, EPOLL_CTL_ADD) < 0)
            die(1, "epoll: %s", strerror(errno));
    }
}

/* Serve ready connections until nothing is in flight: past the deadline no more is asked for. */
static void run(int epoll)
{
    struct epoll_event events[256];
    uint64_t begin = now_ns();
    deadline = begin + run_ns;
    for (long i = 0; i < connections; i++) {
        for (unsigned slot = 0; slot < (unsigned)depth; slot++)
            prepare(&all[i], slot, &batch[slot], now_ns());
        send_all(all[i].fd, batch, (size_t)depth * sizeof *batch);
    }
    while (in_flight) {
        int ready = await(epoll, events, 256, STALL_NS / 1000000);
        if (ready == 0)
            die(1, "the server answers no more");
        for (int i = 0; i < ready; i++)
            on_readable(&all[events[i].data.u32]);
        evict(now_ns());
    }
}

/* Every connection asks for as much as the server takes, and reads nothing. */
static void run_mute(void)
{
    struct mute *mutes = calloc((size_t)connections, sizeof *mutes);
    for (long i = 0; i < connections; i++)
        mutes[i].fd = all[i].fd;
    for (unsigned slot = 0; slot < (unsigned)depth; slot++)
        prepare(&all[0], slot, &batch[slot], 0);
    total = (uint64_t)depth *
            speak_without_listening(mutes, connections, batch, (size_t)depth * sizeof *batch, run_ns);
}

static void take_leave(void)
{
    for (long i = 0; i < connections; i++) {
        struct request end = {htobe32(REQUEST_MAGIC), 0, htobe16(2), 0, 0, 0}; /* NBD_CMD_DISC */
        send_all(all[i].fd, &end, sizeof end);
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'},    {"export", 1, 0, 'e'},  {"connections", 1, 0, 'c'},
        {"depth", 1, 0, 'd'},   {"size", 1, 0, 's'},    {"seconds", 1, 0, 't'}, {"sequential", 0, 0, 'q'},
        {"go", 0, 0, 'g'},      {"compare", 1, 0, 'm'}, {"mute", 0, 0, 'u'},    {"evict", 1, 0, 'v'},
        {"no-look", 0, 0, 'k'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'a': address = optarg; break;
        case 'p': port = number("port", optarg, 1, 65535); break;
        case 'e': export_name = optarg; break;
        case 'c': connections = number("connections", optarg, 1, 10000); break;
        case 'd': depth = number("depth", optarg, 1, 1024); break;
        case 's': size = number("size", optarg, 512, 32 << 20); break;
        case 't': run_ns = duration(optarg); break;
        case 'q': sequential = true; break;
        case 'g': use_go = true; break;
        case 'm': map_reference(optarg); break;
        case 'u': is_mute = true; break;
        case 'v': open_evicted(optarg); break;
        case 'k': may_look = false; break;
        default: exit(2); /* getopt has said why */
        }
    if (optind < argc)
        die(2, "surplus argument '%s'", argv[optind]);
    if (strlen(export_name) > 4096)
        die(2, "--export: longer than 4096 bytes");
}

int main(int argc, char **argv)
{
    program = "nbd";
    argv[0] = "nbd";
    parse(argc, argv);
    raise_file_limit();
    struct sockaddr_in peer = peer_address(address, port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)connections, sizeof *all);
    batch = calloc((size_t)depth, sizeof *batch);
    start(epoll, &peer);
    announce_start();
    double cpu = cpu_seconds();
    if (is_mute)
        run_mute();
    else
        run(epoll);
    cpu = cpu_seconds() - cpu;
    if (!is_mute)
        take_leave();
    printf("{\"requests\": %llu, \"total\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, ",
           (unsigned long long)requests, (unsigned long long)total, (unsigned long long)requests * (uint64_t)size,
           (double)run_ns / 1e9, cpu);
    print_latencies();
    puts("}");
    return 0;
}
