/* AoE reads: ATA READ SECTORS EXT with so many in flight at one target (AoEr11 sections 2 and 3), random sectors. */
#include "bench.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>

#define ETHERTYPE 0x88a2
#define BATCH 64
#define RESEND_NS 200000000ull /* an answer this late is lost */

/* 0 destination, 6 source, 12 ethertype, 14 version and flags, 15 error, 16 shelf, 18 slot, 19 command, 20 tag,
 * 24 ATA flags, 25 feature, 26 sectors, 27 command or status, 28 LBA (6 bytes, little-endian), 34 reserved, 36 data */
struct frame {
    uint8_t destination[6], source[6];
    uint16_t type;
    uint8_t version, error;
    uint16_t shelf;
    uint8_t slot, command;
    uint32_t tag;
    uint8_t ata_flags, feature, sectors, ata, lba[6], reserved[2], padding[24];
} __attribute__((packed));

struct slot {
    uint64_t sent, lba;
    uint32_t tag; /* its low bits are the slot's number */
};

static const char *interface;
static long shelf, target = 1, depth = 1, sectors = 2;
static uint64_t run_ns = 1000000000ull, size, deadline, requests, total, in_flight, resent, seed = 88172645463325252ull;
static struct slot slots[BATCH];
static struct frame out[BATCH], model;
static struct mmsghdr outgoing[BATCH], incoming[BATCH];
static struct iovec out_pieces[BATCH], in_pieces[BATCH];
static uint8_t in[BATCH][16384];
static int sock, way_out; /* one to send by: epoll asks after each sent frame of a socket that it watches */

static void open_socket(void)
{
    struct ifreq request = {0};
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};
    int one = 1, room = 8 << 20;
    sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE));
    if (sock < 0)
        die(1, "raw socket: %s", strerror(errno));
    where.sll_ifindex = (int)if_nametoindex(interface);
    if (!where.sll_ifindex)
        die(2, "--interface: '%s' does not exist", interface);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    if (bind(sock, (struct sockaddr *)&where, sizeof where) < 0 || ioctl(sock, SIOCGIFHWADDR, &request) < 0)
        die(1, "%s: %s", interface, strerror(errno));
    where.sll_protocol = 0;
    way_out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (way_out < 0 || bind(way_out, (struct sockaddr *)&where, sizeof where) < 0)
        die(1, "raw socket: %s", strerror(errno));
    setsockopt(way_out, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    setsockopt(way_out, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    memset(model.destination, 255, 6);
    memcpy(model.source, request.ifr_hwaddr.sa_data, 6);
    model.type = htons(ETHERTYPE);
    model.version = 0x10;
    model.shelf = htobe16((uint16_t)shelf);
    model.slot = (uint8_t)target;
}

/* Send the model and wait for the target's answer to it, a few times. */
static const struct frame *ask(uint32_t tag)
{ /* 32 bytes: an answer to a query without a string, unpadded as a virtual cable passes it on */
    model.tag = htobe32(tag);
    for (int attempt = 0; attempt < 10; attempt++) {
        struct pollfd wait = {.fd = sock, .events = POLLIN};
        if (send(way_out, &model, 60, 0) < 0)
            die(1, "%s: %s", interface, strerror(errno));
        while (poll(&wait, 1, 500) > 0) {
            ssize_t n = recv(sock, in[0], sizeof in[0], 0);
            const struct frame *answer = (const void *)in[0];
            if (n >= 32 && (answer->version & 8) && answer->tag == model.tag && !(answer->version & 4))
                return answer;
        }
    }
    die(1, "no target e%ld.%ld answers on %s", shelf, target, interface);
}

/* Learn the target's MAC by a query, and its size by IDENTIFY DEVICE (words 100 to 103). */
static void find_target(void)
{
    model.command = 1;
    memcpy(model.destination, ask(0x7f000000)->source, 6);
    model.command = 0;
    model.sectors = 1;
    model.ata = 0xec;
    memcpy(&size, (const uint8_t *)ask(0x7f000001) + 36 + 200, 8);
    size = le64toh(size);
    if (size < (uint64_t)sectors)
        die(1, "target e%ld.%ld is smaller than a request", shelf, target);
    model.ata_flags = 0x40; /* 48 bit addresses */
    model.ata = 0x24;       /* READ SECTORS EXT */
    model.sectors = (uint8_t)sectors;
}

static void write_frame(unsigned slot, unsigned at)
{
    uint64_t lba = htole64(slots[slot].lba);
    out[at] = model;
    out[at].tag = htobe32(slots[slot].tag);
    memcpy(out[at].lba, &lba, 6);
}

static void prepare(unsigned slot, unsigned at, uint64_t now)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift64 */
    slots[slot].lba = seed % (size / (uint64_t)sectors) * (uint64_t)sectors;
    slots[slot].sent = now;
    slots[slot].tag = (slots[slot].tag + BATCH) & 0x3fffffff;
    write_frame(slot, at);
    in_flight++;
}

static void send_frames(unsigned count)
{
    for (unsigned sent = 0; sent < count;) {
        int n = sendmmsg(way_out, outgoing + sent, count - sent, 0);
        if (n < 0 && errno != ENOBUFS && errno != EAGAIN)
            die(1, "%s: %s", interface, strerror(errno));
        sent += n > 0 ? (unsigned)n : 0;
    }
}

/* True when the frame answers what its slot waits for, and rightly. */
static bool is_answer(const struct frame *answer, size_t length)
{
    uint32_t tag = be32toh(answer->tag);
    struct slot *slot = &slots[tag % BATCH];
    if (length < 36 || !(answer->version & 8) || answer->command != 0 || slot->tag != tag || !slot->sent)
        return false;
    if ((answer->version & 4) || (answer->ata & 1))
        die(1, "the target answers with error %u, ATA status %#x", answer->error, answer->ata);
    if (length < 36 + (size_t)sectors * 512)
        die(1, "an answer of %zu bytes for %ld sectors", length, sectors);
    if (reference)
        compare(slot->lba * 512, (const uint8_t *)answer + 36, (size_t)sectors * 512);
    return true;
}

static void on_readable(void)
{
    unsigned asked = 0;
    int n = recvmmsg(sock, incoming, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (n < 0) {
        if (errno == EAGAIN)
            return;
        die(1, "%s: %s", interface, strerror(errno));
    }
    uint64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        const struct frame *answer = (const void *)in[i];
        if (!is_answer(answer, incoming[i].msg_len))
            continue;
        unsigned slot = be32toh(answer->tag) % BATCH;
        record_latency(now - slots[slot].sent);
        slots[slot].sent = 0;
        in_flight--;
        total++;
        if (now < deadline) {
            requests++;
            prepare(slot, asked++, now);
        }
    }
    send_frames(asked);
}

static void resend_overdue(uint64_t now)
{
    unsigned late = 0;
    for (unsigned slot = 0; slot < (unsigned)depth; slot++)
        if (slots[slot].sent && now - slots[slot].sent > RESEND_NS) {
            slots[slot].sent = now;
            write_frame(slot, late++);
        }
    resent += late;
    send_frames(late);
}

static void run(int epoll)
{
    struct epoll_event event;
    uint64_t begin = now_ns(), heard = begin, checked = begin, now;
    deadline = begin + run_ns;
    for (unsigned slot = 0; slot < (unsigned)depth; slot++) {
        slots[slot].tag = slot;
        prepare(slot, slot, begin);
    }
    send_frames((unsigned)depth);
    while (in_flight) {
        if (epoll_wait(epoll, &event, 1, 50) > 0) {
            on_readable();
            heard = now_ns();
        }
        now = now_ns();
        if (now - checked > RESEND_NS / 4) {
            checked = now;
            resend_overdue(now);
        }
        if (now - heard > STALL_NS)
            die(1, "the target answers no more");
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"interface", 1, 0, 'i'}, {"shelf", 1, 0, 's'},   {"slot", 1, 0, 'n'},    {"depth", 1, 0, 'd'},
        {"sectors", 1, 0, 'c'},   {"seconds", 1, 0, 't'}, {"compare", 1, 0, 'm'}, {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'i': interface = optarg; break;
        case 's': shelf = number("shelf", optarg, 0, 65534); break;
        case 'n': target = number("slot", optarg, 0, 254); break;
        case 'd': depth = number("depth", optarg, 1, BATCH); break;
        case 'c': sectors = number("sectors", optarg, 1, 17); break; /* as many as a frame of 9000 bytes bears */
        case 't': run_ns = duration(optarg); break;
        case 'm': map_reference(optarg); break;
        default: exit(2); /* getopt has said why */
        }
    if (optind < argc)
        die(2, "surplus argument '%s'", argv[optind]);
    if (!interface)
        die(2, "--interface is missing");
}

int main(int argc, char **argv)
{
    program = "aoe";
    argv[0] = "aoe";
    parse(argc, argv);
    open_socket();
    find_target();
    for (int i = 0; i < BATCH; i++) {
        out_pieces[i] = (struct iovec){&out[i], 60};
        in_pieces[i] = (struct iovec){in[i], reference ? sizeof in[i] : 64};
        outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &out_pieces[i], .msg_iovlen = 1};
        incoming[i].msg_hdr = (struct msghdr){.msg_iov = &in_pieces[i], .msg_iovlen = 1};
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, sock, 0, EPOLL_CTL_ADD);
    announce_start();
    double cpu = cpu_seconds();
    run(epoll);
    cpu = cpu_seconds() - cpu;
    printf("{\"requests\": %llu, \"total\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
           "\"resent\": %llu, ",
           (unsigned long long)requests, (unsigned long long)total,
           (unsigned long long)requests * (uint64_t)sectors * 512, (double)run_ns / 1e9, cpu,
           (unsigned long long)resent);
    print_latencies();
    puts("}");
    return 0;
}
