/* The least a TFTP server can do (RFC 1350, 2348): one file from memory, a socket a client, a call to take each
 * acknowledgement and a call to send the next block; no timers, no windows, no other file. What it reaches is what the
 * kernel and the load leave for any server that is asked block by block. Prints "start" once it can be asked. */
#include "bench.h"

#define EVENTS 256
#define LOOK_AGAIN_NS 200000ull /* to be woken takes longer than a block */
#define CLIENTS_MOST 65536
#define BLOCK_MAX 65464 /* RFC 2348 */

struct client {
    struct sockaddr_in peer;
    long blksize;
};

static struct client clients[CLIENTS_MOST]; /* by descriptor */
static const char *address = "127.0.0.1";
static long port = 69;
static int epoll;

static int open_socket(uint16_t at)
{
    struct sockaddr_in own = peer_address(address, at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= CLIENTS_MOST || bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        watch(epoll, fd, (uint32_t)fd, EPOLL_CTL_ADD) < 0)
        die(1, "socket: %s", strerror(errno));
    return fd;
}

static void send_block(int fd, size_t block)
{
    static uint8_t packet[4 + BLOCK_MAX] = {0, 3};
    struct client *c = &clients[fd];
    size_t begin = (block - 1) * (size_t)c->blksize, length = (size_t)c->blksize;
    if (begin > reference_size || (begin == reference_size && reference_size % length)) {
        close(fd); /* the last one was acknowledged */
        return;
    }
    if (length > reference_size - begin)
        length = reference_size - begin;
    packet[2] = (uint8_t)(block >> 8);
    packet[3] = (uint8_t)block;
    memcpy(packet + 4, reference + begin, length);
    sendto(fd, packet, 4 + length, 0, (struct sockaddr *)&c->peer, sizeof c->peer);
}

/* NAME 0 MODE 0, then options of which only blksize is read. */
static void on_request(const char *at, const char *end, const struct sockaddr_in *peer)
{
    char answer[64];
    int fd = open_socket(0), length;
    clients[fd] = (struct client){*peer, 512};
    for (; at < end; at += strlen(at) + 1)
        if (strcasecmp(at, "blksize") == 0 && at + 8 < end)
            clients[fd].blksize = number("blksize", at + 8, 8, BLOCK_MAX);
    length = 2 + snprintf(answer + 2, sizeof answer - 2, "blksize%c%ld", 0, clients[fd].blksize) + 1;
    memcpy(answer, "\0\6", 2);
    sendto(fd, answer, (size_t)length, 0, (const struct sockaddr *)peer, sizeof *peer);
}

static void on_readable(int fd, int door)
{
    char packet[1024];
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    ssize_t length = recvfrom(fd, packet, sizeof packet - 1, 0, (struct sockaddr *)&peer, &size);
    if (length < 4)
        return;
    packet[length] = 0;
    if (fd == door)
        on_request(packet + 2, packet + length, &peer);
    else if (packet[1] == 5)
        close(fd);
    else
        send_block(fd, (size_t)((uint8_t)packet[2] << 8 | (uint8_t)packet[3]) + 1);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'}, {"file", 1, 0, 'f'}, {0, 0, 0, 0}};
    struct epoll_event events[EVENTS];
    program = argv[0] = "floor";
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'a': address = optarg; break;
        case 'p': port = number("port", optarg, 1, 65535); break;
        case 'f': map_reference(optarg); break;
        default: exit(2); /* getopt has said why */
        }
    if (!reference)
        die(2, "--file is missing: what it serves");
    raise_file_limit();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int door = open_socket((uint16_t)port);
    announce_start();
    for (uint64_t busy = now_ns();;) {
        int ready = epoll_wait(epoll, events, EVENTS, 0);
        uint64_t now = now_ns();
        if (ready > 0)
            busy = now;
        else if (now - busy > LOOK_AGAIN_NS) /* others are measured on this core, too */
            ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++)
            on_readable((int)events[i].data.u32, door);
    }
}
