/* TFTP downloads of one file by many clients at once, again and again (RFC 1350, 2347, 2348, 7440). */
#include "bench.h"

#define BATCH 64               /* datagrams taken from a socket at once */
#define HEAD 128               /* bytes of one that are looked at: room for options and errors */
#define SAMPLE 64              /* what one in so many calls brings is compared with --sample's file */
#define RESEND_NS 500000000ull /* silence after which a client says its last word again */
#define PATIENCE_NS 20000000000ull /* counting starts when every client was answered, or after this */
#define BLOCK_MAX 65464        /* RFC 2348 */

struct client {
    int fd;
    struct sockaddr_in from; /* the server's end of this transfer */
    uint64_t heard;          /* when it last got on */
    uint64_t began;          /* when this file was asked for */
    uint64_t asked;          /* when the window that is awaited was, 0 for none: an acknowledgement said twice counts from the first */
    uint64_t block;          /* the last block that came in order, counted past 65535 */
    long blksize, window;    /* as agreed */
    long in_window;          /* blocks since the last acknowledgement */
    bool connected, gap_told, was_served;
};

static const char *address = "127.0.0.1", *file = "file";
static long port = 69, clients = 1, blksize = 512, windowsize = 1;
static uint64_t run_ns = 1000000000ull, deadline, blocks, bytes, total_bytes, files, resent, acks;
static bool is_mute, is_whole; /* whole: what came last did, to be compared */
static uint64_t calls, compare_each = 1;
static long served; /* clients that were answered */
static double cpu_before;
static struct client *all;
static struct sockaddr_in server;
static int epoll;
static uint8_t (*buffers)[4 + BLOCK_MAX + 1];
static struct mmsghdr messages[BATCH];
static struct iovec pieces[BATCH];
static struct sockaddr_in senders[BATCH];

static void send_request(struct client *c)
{
    char request[1024];
    int n = 2;
    memcpy(request, "\0\1", 2);
    n += snprintf(request + n, sizeof request - (size_t)n, "%s%coctet%cblksize%c%ld", file, 0, 0, 0, blksize) + 1;
    if (windowsize > 1)
        n += snprintf(request + n, sizeof request - (size_t)n, "windowsize%c%ld", 0, windowsize) + 1;
    if (sendto(c->fd, request, (size_t)n, 0, (struct sockaddr *)&server, sizeof server) < 0)
        die(1, "sending a request: %s", strerror(errno));
}

static void begin_file(struct client *c, uint32_t index)
{
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct client){.heard = now_ns(), .blksize = 512, .window = 1, .was_served = c->was_served};
    c->began = c->heard;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int room = 1 << 20;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (c->fd < 0 || watch(epoll, c->fd, index, EPOLL_CTL_ADD) < 0)
        die(1, "socket: %s", strerror(errno));
    send_request(c);
}

static void acknowledge(struct client *c)
{
    uint8_t ack[4] = {0, 4, (uint8_t)(c->block >> 8), (uint8_t)c->block};
    c->in_window = 0;
    if (!c->asked)
        c->asked = now_ns();
    acks++;
    if (send(c->fd, ack, 4, 0) < 0 && errno != EAGAIN && errno != ECONNREFUSED)
        die(1, "sending an acknowledgement: %s", strerror(errno));
}

static void on_options(struct client *c, const uint8_t *data, size_t length)
{
    const char *at = (const char *)data + 2, *end = (const char *)data + length;
    if (length < 4 || end[-1] != 0)
        die(1, "an OACK without its last NUL");
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (value >= end)
            die(1, "an OACK with half an option");
        if (strcasecmp(at, "blksize") == 0)
            c->blksize = atol(value);
        else if (strcasecmp(at, "windowsize") == 0)
            c->window = atol(value);
        at = value + strlen(value) + 1;
    }
    if (c->blksize < 8 || c->blksize > blksize || c->window < 1 || c->window > windowsize)
        die(1, "an OACK with blksize %ld and windowsize %ld", c->blksize, c->window);
    acknowledge(c);
}

/* One block. True when it was the file's last. */
static bool on_data(struct client *c, const uint8_t *data, size_t length, uint64_t now)
{
    uint16_t block = (uint16_t)(data[2] << 8 | data[3]);
    if (block != (uint16_t)(c->block + 1)) {
        /* Older blocks and the last one again are passed over: to acknowledge those would double the traffic for good. */
        if ((uint16_t)(block - (uint16_t)c->block - 2) < 0x8000 && !c->gap_told) {
            c->gap_told = true; /* RFC 7440 section 4: the last in order, once; what was sent past it comes again */
            resent++;
            acknowledge(c);
        }
        return false;
    }
    if (length - 4 > (size_t)c->blksize)
        die(1, "a block of %zu bytes, blksize is %ld", length - 4, c->blksize);
    if (is_whole)
        compare(c->block * (uint64_t)c->blksize, data + 4, length - 4);
    if (c->asked) /* the first of its window */
        record_latency(now - c->asked);
    c->asked = 0;
    c->block++;
    c->heard = now;
    c->gap_told = false;
    total_bytes += length - 4;
    if (deadline && now < deadline) {
        blocks++;
        bytes += length - 4;
    }
    bool last = length - 4 < (size_t)c->blksize;
    if (++c->in_window == c->window || last)
        acknowledge(c);
    return last;
}

static void on_error(const uint8_t *data, size_t length)
{
    die(1, "the server said error %d: %.*s", data[2] << 8 | data[3], (int)(length > 5 ? length - 5 : 0), data + 4);
}

static void end_file(struct client *c, uint32_t index)
{
    files++;
    if (reference && (c->block - 1) * (uint64_t)c->blksize > reference_size)
        die(1, "more blocks than the file has");
    begin_file(c, index);
}

/* Room for whole blocks when they are to be compared; else what they have beyond HEAD the kernel drops, and still says
 * how long they were. */
static void make_room(void)
{
    bool now_whole = reference && ++calls % compare_each == 0;
    if (now_whole == is_whole)
        return;
    is_whole = now_whole;
    for (int i = 0; i < BATCH; i++)
        pieces[i].iov_len = is_whole ? sizeof *buffers : HEAD;
}

static void on_readable(struct client *c, uint32_t index)
{
    make_room();
    /* What the server may send before it is acknowledged: to ask for more would be to ask once in vain. */
    long most = c->connected ? c->window - c->in_window : 1;
    int n = recvmmsg(c->fd, messages, most < BATCH ? (unsigned)most : BATCH, MSG_TRUNC, NULL);
    if (n < 0) {
        if (errno == EAGAIN || errno == ECONNREFUSED)
            return;
        die(1, "receiving: %s", strerror(errno));
    }
    uint64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        const uint8_t *data = buffers[i];
        size_t length = messages[i].msg_len;
        messages[i].msg_hdr.msg_namelen = sizeof senders[i];
        if (length < 4)
            die(1, "a packet of %zu bytes", length);
        if (data[1] == 5)
            on_error(data, length < pieces[i].iov_len ? length : pieces[i].iov_len);
        if (!c->connected) {
            c->connected = true;
            served += !c->was_served;
            c->was_served = true;
            c->heard = now;
            c->from = senders[i];
            if (connect(c->fd, (struct sockaddr *)&c->from, sizeof c->from) < 0)
                die(1, "connecting: %s", strerror(errno));
        } else if (senders[i].sin_port != c->from.sin_port)
            continue; /* a second answer to a request that was sent twice */
        if (data[1] == 6 && c->block == 0)
            on_options(c, data, length < pieces[i].iov_len ? length : pieces[i].iov_len);
        else if (data[1] == 3 && on_data(c, data, length, now)) {
            end_file(c, index);
            for (int rest = i + 1; rest < n; rest++)
                messages[rest].msg_hdr.msg_namelen = sizeof senders[rest];
            return;
        }
    }
}

static void resend_overdue(uint64_t now)
{
    for (long i = 0; i < clients; i++) {
        struct client *c = &all[i];
        if (now - c->heard < RESEND_NS)
            continue;
        if (now - c->began > STALL_NS && now - c->heard > STALL_NS / 2)
            die(1, "the server answers no more");
        resent++;
        if (c->connected)
            acknowledge(c);
        else
            send_request(c);
        /* Not heard from, but it has its half second to answer again. */
        c->heard += RESEND_NS / 2;
    }
}

static void run(void)
{
    struct epoll_event events[256];
    uint64_t now = now_ns(), checked = now, patience = now + PATIENCE_NS;
    for (long i = 0; i < clients; i++)
        begin_file(&all[i], (uint32_t)i);
    while (!deadline || now < deadline) {
        int ready = await(epoll, events, 256, 50);
        for (int i = 0; i < ready; i++)
            on_readable(&all[events[i].data.u32], events[i].data.u32);
        now = now_ns(); /* again: nothing was heard later than now, as the subtractions below rely on */
        if (!deadline && (served == clients || now > patience)) {
            announce_start();
            cpu_before = cpu_seconds();
            waited = 0;
            deadline = now + run_ns;
        }
        if (now - checked > RESEND_NS / 4) {
            checked = now;
            resend_overdue(now);
        }
        evict(now);
    }
}

/* Every client asks for the file once, and acknowledges nothing. */
static void run_mute(void)
{
    struct timespec rest = {.tv_sec = (time_t)(run_ns / 1000000000), .tv_nsec = (long)(run_ns % 1000000000)};
    for (long i = 0; i < clients; i++)
        begin_file(&all[i], (uint32_t)i);
    announce_start();
    cpu_before = cpu_seconds();
    nanosleep(&rest, NULL);
}

/* Tell the server that nobody waits for the rest. */
static void abandon(void)
{
    for (long i = 0; i < clients; i++)
        if (all[i].connected)
            send(all[i].fd, "\0\5\0\0enough", 11, 0);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'},       {"file", 1, 0, 'f'},    {"clients", 1, 0, 'c'},
        {"blksize", 1, 0, 'b'}, {"windowsize", 1, 0, 'w'}, {"seconds", 1, 0, 't'}, {"compare", 1, 0, 'm'},
        {"mute", 0, 0, 'u'},    {"evict", 1, 0, 'v'},      {"sample", 1, 0, 's'},
        {"no-look", 0, 0, 'k'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'a': address = optarg; break;
        case 'p': port = number("port", optarg, 1, 65535); break;
        case 'f': file = optarg; break;
        case 'c': clients = number("clients", optarg, 1, 10000); break;
        case 'b': blksize = number("blksize", optarg, 8, BLOCK_MAX); break;
        case 'w': windowsize = number("windowsize", optarg, 1, 65535); break;
        case 't': run_ns = duration(optarg); break;
        case 'm': map_reference(optarg); break;
        case 'u': is_mute = true; break;
        case 'v': open_evicted(optarg); break;
        case 's': map_reference(optarg), compare_each = SAMPLE; break;
        case 'k': may_look = false; break;
        default: exit(2); /* getopt has said why */
        }
    if (optind < argc)
        die(2, "surplus argument '%s'", argv[optind]);
    if (strlen(file) > 500)
        die(2, "--file: longer than 500 bytes");
}

static void make_buffers(void)
{
    buffers = calloc(BATCH, sizeof *buffers);
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){buffers[i], HEAD};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &senders[i], .msg_namelen = sizeof senders[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
}

int main(int argc, char **argv)
{
    program = "tftp";
    argv[0] = "tftp";
    parse(argc, argv);
    raise_file_limit();
    server = peer_address(address, port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)clients, sizeof *all);
    for (long i = 0; i < clients; i++)
        all[i].fd = -1;
    make_buffers();
    if (is_mute)
        run_mute();
    else
        run();
    double cpu = cpu_seconds() - cpu_before;
    abandon();
    printf("{\"requests\": %llu, \"bytes\": %llu, \"total_bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
           "\"files\": %llu, \"resent\": %llu, \"acks\": %llu, \"served\": %ld, \"window\": %ld, ",
           (unsigned long long)blocks, (unsigned long long)bytes, (unsigned long long)total_bytes,
           (double)run_ns / 1e9, cpu, (unsigned long long)files, (unsigned long long)resent, (unsigned long long)acks,
           served, all[0].window);
    print_latencies();
    puts("}");
    return 0;
}
