/* The least an NBD server can do (NBD proto.md, fixed newstyle, simple replies): one file in memory, reads only; a call
 * to take what a client asks and a call to send all of its answers, or one for each that sendfile has the file send. No
 * checks, no bounds, no second file, no disk. What it reaches is what the kernel and the load leave for any server.
 * Prints "start" once it can be asked. */
#include "bench.h"
#include <sys/sendfile.h>
#include <sys/uio.h>

#define EVENTS 256
#define LOOK_AGAIN_NS 200000ull /* to be woken takes longer than a request */
#define REQUESTS 64             /* of a client that are taken at once */
#define SENDFILE_LEAST 32768    /* bytes: smaller ones cost less to copy */
#define OPTION_BODY 4096
#define OPTION_EXPORT_NAME 1
#define OPTION_ABORT 2
#define OPTION_GO 7
#define REPLY_ACK 1
#define REPLY_INFO 3
#define REPLY_UNSUPPORTED 0x80000001u
#define FLAGS 3 /* HAS_FLAGS, READ_ONLY */
#define NO_ZEROES 2
#define REQUEST_READ 0

struct request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t length;
} __attribute__((packed));

struct reply {
    uint32_t magic, error;
    uint64_t cookie;
} __attribute__((packed));

struct client {
    int fd;
    size_t have; /* bytes of what it asks */
    struct request inbox[REQUESTS];
};

static const char *address = "127.0.0.1", *path;
static long port = 10809;
static int epoll, file;

static void answer_option(int fd, uint32_t option, uint32_t type, const void *body, uint32_t length)
{
    struct {
        uint64_t magic;
        uint32_t option, type, length;
    } __attribute__((packed)) head = {htobe64(0x0003e889045565a9ull), htobe32(option), htobe32(type), htobe32(length)};
    send_all(fd, &head, sizeof head);
    send_all(fd, body, length);
}

/* False when the client leaves. */
static bool shake_hands(int fd)
{
    struct {
        uint64_t magic, option;
        uint16_t flags;
    } __attribute__((packed)) hello = {htobe64(0x4e42444d41474943ull), htobe64(0x49484156454f5054ull), htobe16(3)};
    struct {
        uint16_t kind;
        uint64_t size;
        uint16_t flags;
        uint8_t zeroes[124];
    } __attribute__((packed)) export = {0, htobe64(reference_size), htobe16(FLAGS), {0}};
    uint32_t flags;
    send_all(fd, &hello, sizeof hello);
    receive_all(fd, &flags, sizeof flags);
    for (;;) {
        struct {
            uint64_t magic;
            uint32_t option, length;
        } __attribute__((packed)) asked;
        char body[OPTION_BODY];
        receive_all(fd, &asked, sizeof asked);
        uint32_t option = be32toh(asked.option), length = be32toh(asked.length);
        if (length > sizeof body)
            die(1, "an option of %u bytes", length);
        receive_all(fd, body, length);
        if (option == OPTION_EXPORT_NAME) {
            send_all(fd, &export.size, be32toh(flags) & NO_ZEROES ? 10 : 134);
            return true;
        }
        if (option == OPTION_GO) {
            answer_option(fd, option, REPLY_INFO, &export, 12);
            answer_option(fd, option, REPLY_ACK, NULL, 0);
            return true;
        }
        if (option == OPTION_ABORT)
            return false;
        answer_option(fd, option, REPLY_UNSUPPORTED, NULL, 0);
    }
}

static void admit(int door)
{
    int one = 1, fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
    struct client *c = calloc(1, sizeof *c);
    if (fd < 0 || !c)
        die(1, "a client: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (!shake_hands(fd) || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        free(c);
    }
}

static void dismiss(struct client *c)
{
    close(c->fd);
    free(c);
}

/* False when the client is gone. */
static bool send_pieces(int fd, struct iovec *pieces, size_t count)
{
    while (count) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        for (; count && (size_t)sent >= pieces->iov_len; pieces++, count--)
            sent -= (ssize_t)pieces->iov_len;
        if (count) {
            pieces->iov_base = (char *)pieces->iov_base + sent;
            pieces->iov_len -= (size_t)sent;
        }
    }
    return true;
}

static bool send_file(int fd, const struct reply *reply, off_t offset, size_t length)
{
    if (send(fd, reply, sizeof *reply, MSG_NOSIGNAL | MSG_MORE) != sizeof *reply)
        return false;
    while (length) {
        ssize_t sent = sendfile(fd, file, &offset, length);
        if (sent <= 0)
            return false;
        length -= (size_t)sent;
    }
    return true;
}

/* False when the client leaves. */
static bool answer(struct client *c, size_t count)
{
    struct reply replies[REQUESTS];
    struct iovec pieces[2 * REQUESTS];
    size_t staged = 0;
    for (size_t i = 0; i < count; i++) {
        const struct request *asked = &c->inbox[i];
        uint64_t offset = be64toh(asked->offset), length = be32toh(asked->length);
        if (be16toh(asked->type) != REQUEST_READ || offset + length > reference_size)
            return false;
        replies[i] = (struct reply){htobe32(0x67446698u), 0, asked->cookie};
        if (length >= SENDFILE_LEAST) {
            if (!send_file(c->fd, &replies[i], (off_t)offset, length))
                return false;
            continue;
        }
        pieces[staged++] = (struct iovec){&replies[i], sizeof replies[i]};
        pieces[staged++] = (struct iovec){(void *)(reference + offset), length};
    }
    return send_pieces(c->fd, pieces, staged);
}

static void on_readable(struct client *c)
{
    ssize_t got = recv(c->fd, (char *)c->inbox + c->have, sizeof c->inbox - c->have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    size_t have = c->have + (size_t)(got > 0 ? got : 0), count = have / sizeof *c->inbox;
    if (got <= 0 || !answer(c, count)) {
        dismiss(c);
        return;
    }
    c->have = have % sizeof *c->inbox;
    memmove(c->inbox, c->inbox + count, c->have);
}

static int listen_at(void)
{
    int one = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in own = peer_address(address, port);
    struct epoll_event event = {.events = EPOLLIN};
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (door < 0 || bind(door, (struct sockaddr *)&own, sizeof own) < 0 || listen(door, 4096) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, door, &event) < 0)
        die(1, "%s:%ld: %s", address, port, strerror(errno));
    return door;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'}, {"file", 1, 0, 'f'}, {0, 0, 0, 0}};
    struct epoll_event events[EVENTS];
    program = argv[0] = "floor_nbd";
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'a': address = optarg; break;
        case 'p': port = number("port", optarg, 1, 65535); break;
        case 'f': path = optarg; break;
        default: exit(2); /* getopt has said why */
        }
    if (!path)
        die(2, "--file is missing: what it serves");
    map_reference(path);
    file = open(path, O_RDONLY | O_CLOEXEC);
    raise_file_limit();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int door = listen_at();
    announce_start();
    for (uint64_t busy = now_ns();;) {
        int ready = epoll_wait(epoll, events, EVENTS, 0);
        uint64_t now = now_ns();
        if (ready > 0)
            busy = now;
        else if (now - busy > LOOK_AGAIN_NS) /* others are measured on this core, too */
            ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr)
                on_readable(events[i].data.ptr);
            else
                admit(door);
    }
}
