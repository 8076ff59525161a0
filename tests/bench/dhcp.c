/* Machines that look for a boot server: a DISCOVER each, as UEFI firmware sends it (RFC 4578), from as many MACs, spread
 * over a time or all at once; whoever is not made a proxy's offer (no address, class PXEClient) in time got none.
 *
 * Frames are written and read by packet sockets, since all machines are this one. Every run has MACs of its own: to the
 * server they are machines that it has never seen, as after a delivery, or a restart. */
#include "bench.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/udp.h>

#define MOST 100000
#define BATCH 64
#define IP_AT 14
#define UDP_AT (IP_AT + 20)
#define DHCP_AT (UDP_AT + 8)
#define OPTIONS_AT (DHCP_AT + 240)
#define FRAME 400              /* bytes: options and padding as firmware has them */
#define LARGEST 2048

/* The options of a DISCOVER by OVMF, but for the identifier, which comes last (option 97: 0 and sixteen bytes). */
static const uint8_t options[] = {
    53, 1, 1, 57, 2, 5, 0xc0, 55, 35, 1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
    60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135, 94, 3, 1, 3, 0, 93, 2, 0, 7, 60, 32, 'P', 'X', 'E', 'C', 'l',
    'i', 'e', 'n', 't', ':', 'A', 'r', 'c', 'h', ':', '0', '0', '0', '0', '7', ':', 'U', 'N', 'D', 'I', ':', '0', '0', '3',
    '0', '0', '0', 97, 17, 0};

static const char *interface;
static long machines = 1;
static uint64_t spread_ns, patience_ns = 1000000000ull, sent_at[MOST], begin;
static uint64_t answered, bytes;
static uint32_t run; /* in each MAC, xid and identifier */
static uint8_t frames[BATCH][FRAME];
static int ears, mouth;

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static void sum_header(uint8_t *ip)
{
    uint32_t total = 0;
    for (int i = 0; i < 20; i += 2)
        total += get16(ip + i);
    total = (total & 0xffff) + (total >> 16);
    put16(ip + 10, ~(total + (total >> 16)));
}

/* Machine `number`'s frame. MAC: 02, two bytes of the run, three of the number; xid: the number. */
static void write_discover(uint8_t *frame, uint32_t number)
{
    uint8_t *ip = frame + IP_AT, *dhcp = frame + DHCP_AT, *end = frame + OPTIONS_AT + sizeof options;
    memset(frame, 0, FRAME);
    memset(frame, 255, 6);
    put16(frame + 12, ETHERTYPE_IP);
    ip[0] = 0x45;
    put16(ip + 2, FRAME - IP_AT);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memset(ip + 16, 255, 4);
    sum_header(ip);
    put16(frame + UDP_AT, 68);
    put16(frame + UDP_AT + 2, 67);
    put16(frame + UDP_AT + 4, FRAME - UDP_AT); /* without a checksum, as RFC 768 allows */
    dhcp[0] = 1;
    dhcp[1] = 1;
    dhcp[2] = 6;
    put32(dhcp + 4, number);
    put16(dhcp + 10, 0x8000);
    dhcp[28] = 2;
    put16(dhcp + 29, run);
    dhcp[31] = (uint8_t)(number >> 16);
    put16(dhcp + 32, number);
    memcpy(frame + 6, dhcp + 28, 6);
    memcpy(dhcp + 236, (const uint8_t[]){99, 130, 83, 99}, 4);
    memcpy(frame + OPTIONS_AT, options, sizeof options);
    put32(end, 0x52570000 | (run & 0xffff));
    put32(end + 12, number + 1);
    end[16] = 255;
}

static void open_sockets(void)
{
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IP)};
    int room = 64 << 20;
    ears = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mouth = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (ears < 0 || mouth < 0)
        die(1, "raw socket: %s", strerror(errno));
    setsockopt(ears, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(mouth, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    where.sll_ifindex = (int)if_nametoindex(interface);
    if (!where.sll_ifindex)
        die(2, "--interface: '%s' does not exist", interface);
    if (bind(ears, (struct sockaddr *)&where, sizeof where) < 0)
        die(1, "%s: %s", interface, strerror(errno));
    where.sll_protocol = 0;
    if (bind(mouth, (struct sockaddr *)&where, sizeof where) < 0)
        die(1, "%s: %s", interface, strerror(errno));
}

/* Machines `first` to `last`, not included, ask. */
static void ask(long first, long last)
{
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    while (first < last) {
        unsigned count = (unsigned)(last - first < BATCH ? last - first : BATCH);
        memset(messages, 0, sizeof messages);
        for (unsigned i = 0; i < count; i++) {
            write_discover(frames[i], (uint32_t)(first + i));
            pieces[i] = (struct iovec){frames[i], FRAME};
            messages[i].msg_hdr.msg_iov = &pieces[i];
            messages[i].msg_hdr.msg_iovlen = 1;
            sent_at[first + i] = now_ns();
        }
        int sent = sendmmsg(mouth, messages, count, 0);
        if (sent < 0)
            die(1, "%s: %s", interface, strerror(errno));
        first += sent;
    }
}

static const uint8_t *find_option(const uint8_t *packet, ssize_t size, uint8_t code)
{
    for (ssize_t at = OPTIONS_AT; at + 1 < size && packet[at] != 255; at += packet[at] ? 2 + packet[at + 1] : 1)
        if (packet[at] == code && at + 2 + packet[at + 1] <= size)
            return packet + at + 1;
    return NULL;
}

/* The machine that a frame is a proxy's first offer to, -1 if it is none. */
static long offered(const uint8_t *frame, ssize_t size)
{
    const uint8_t *dhcp = frame + DHCP_AT, *kind, *class;
    static const uint8_t nobody[4];
    if (size < OPTIONS_AT || frame[IP_AT] != 0x45 || frame[IP_AT + 9] != IPPROTO_UDP || get16(frame + UDP_AT + 2) != 68)
        return -1;
    if (dhcp[0] != 2 || memcmp(dhcp + 16, nobody, 4) != 0 || get16(dhcp + 29) != (run & 0xffff))
        return -1;
    kind = find_option(frame, size, 53);
    class = find_option(frame, size, 60);
    if (!kind || kind[0] != 1 || kind[1] != 2 || !class || class[0] < 9 || memcmp(class + 1, "PXEClient", 9) != 0)
        return -1;
    uint32_t number = get16(dhcp + 4) << 16 | get16(dhcp + 6);
    return number < machines && sent_at[number] ? (long)number : -1;
}

static void hear(void)
{
    static uint8_t frame[LARGEST];
    ssize_t size;
    while ((size = recv(ears, frame, sizeof frame, 0)) > 0) {
        long number = offered(frame, size);
        if (number < 0)
            continue;
        record_latency(now_ns() - sent_at[number]);
        sent_at[number] = 0; /* copies are no news */
        answered++;
        bytes += (uint64_t)size;
    }
}

static void wait_until(uint64_t when)
{
    struct pollfd wait = {.fd = ears, .events = POLLIN};
    uint64_t now = now_ns();
    struct timespec pause = {.tv_nsec = when > now ? (long)((when - now) % 1000000000ull) : 0};
    pause.tv_sec = when > now ? (time_t)((when - now) / 1000000000ull) : 0;
    if (ppoll(&wait, 1, &pause, NULL) > 0)
        hear();
}

static void storm(void)
{
    long asked = 0;
    uint64_t now;
    while (asked < machines) {
        now = now_ns();
        long due = spread_ns ? (long)((double)(now - begin) / (double)spread_ns * (double)machines) + 1 : machines;
        due = due < machines ? due : machines;
        ask(asked, due);
        asked = due;
        hear();
        if (asked < machines)
            wait_until(begin + (uint64_t)((double)spread_ns / (double)machines * (double)asked));
    }
    for (uint64_t until = now_ns() + patience_ns; answered < (uint64_t)machines && (now = now_ns()) < until;)
        wait_until(until);
    for (long number = 0; number < machines; number++)
        if (sent_at[number]) /* never answered: that long at least */
            record_latency(now_ns() - sent_at[number]);
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"interface", 1, 0, 'i'}, {"machines", 1, 0, 'm'}, {"spread", 1, 0, 'p'}, {"seconds", 1, 0, 't'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (c) {
        case 'i': interface = optarg; break;
        case 'm': machines = number("machines", optarg, 1, MOST); break;
        case 'p': spread_ns = duration(optarg); break;
        case 't': patience_ns = duration(optarg); break;
        default: exit(2); /* getopt has said why */
        }
    if (optind < argc)
        die(2, "surplus argument '%s'", argv[optind]);
    if (!interface)
        die(2, "--interface is needed");
}

int main(int argc, char **argv)
{
    program = "dhcp";
    argv[0] = "dhcp";
    parse(argc, argv);
    run = (uint32_t)getpid();
    open_sockets();
    announce_start();
    double cpu_before = cpu_seconds();
    begin = now_ns();
    storm();
    double seconds = (double)(now_ns() - begin) / 1e9, cpu = cpu_seconds() - cpu_before;
    printf("{\"requests\": %ld, \"bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"served\": %llu, ", machines,
           (unsigned long long)bytes, seconds, cpu, (unsigned long long)answered);
    print_latencies();
    puts("}");
    return 0;
}
