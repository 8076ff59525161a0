/* AoE reads: ATA READ SECTORS EXT with so many in flight at one target (AoEr11 sections 2 and 3), random sectors.
 *
 * Answers come by a ring that the kernel fills with the first bytes of each frame and its length, so that taking them
 * is no call of the kernel; requests go out by the batch. What is to be compared is marked in its tag: a filter lets
 * all of such an answer in, and one that no slot of the ring holds comes as from any socket. */
#include "bench.h"
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stddef.h>

#define ETHERTYPE 0x88a2
#define BATCH 64
#define SLOTS 512              /* of the ring: what is in flight, and strays */
#define SLOT 128               /* bytes: the kernel's 66, and HEAD */
#define HEAD 60                /* bytes of an answer that are looked at */
#define WHOLE 0x40000000u      /* in a tag: of its answer everything is */
#define SAMPLE 256             /* one in so many answers is compared with --sample's file */
#define LOOKS 32               /* at the ring between two at the clock, which takes as long as some */
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
static uint64_t run_ns = 1000000000ull, size, deadline, requests, total, in_flight, resent, prepared, seed = 88172645463325252ull;
static struct slot slots[BATCH];
static struct frame out[BATCH], model;
static struct mmsghdr outgoing[BATCH];
static struct iovec out_pieces[BATCH];
static uint8_t whole[16384], *ring;
static unsigned at, compare_each = 1;
static int sock, way_out; /* one to send by: what is sent by a socket wakes whoever waits at it */

/* The kernel keeps HEAD bytes of a frame to us, or all of one that has WHOLE in its tag. */
static void filter(void)
{
    uint32_t high;
    uint16_t low;
    memcpy(&high, model.source, 4);
    memcpy(&low, model.source + 4, 2);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, be32toh(high), 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, be16toh(low), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct frame, tag)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, WHOLE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, sizeof whole),
        BPF_STMT(BPF_RET | BPF_K, HEAD),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
    if (setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0)
        die(1, "packet filter: %s", strerror(errno));
}

static void map_ring(void)
{
    int version = TPACKET_V2, one = 1;
    struct tpacket_req wanted = {
        .tp_block_size = SLOTS * SLOT, .tp_block_nr = 1, .tp_frame_size = SLOT, .tp_frame_nr = SLOTS};
    if (setsockopt(sock, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0 ||
        setsockopt(sock, SOL_PACKET, PACKET_COPY_THRESH, &one, sizeof one) < 0 ||
        setsockopt(sock, SOL_PACKET, PACKET_RX_RING, &wanted, sizeof wanted) < 0)
        die(1, "packet ring: %s", strerror(errno));
    ring = mmap(NULL, SLOTS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, sock, 0);
    if (ring == MAP_FAILED)
        die(1, "packet ring: %s", strerror(errno));
}

static struct tpacket2_hdr *head(void)
{
    return (void *)(ring + at * SLOT);
}

static uint32_t status_of(const struct tpacket2_hdr *slot)
{
    return __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
}

/* The frame at the ring's head and its length on the wire, or NULL; it stays until `give_back`. */
static const struct frame *next_frame(size_t *length)
{
    const struct tpacket2_hdr *slot = head();
    uint32_t status = status_of(slot);
    if (!(status & TP_STATUS_USER))
        return NULL;
    if (status & TP_STATUS_COPY) {
        ssize_t n = recv(sock, whole, sizeof whole, MSG_DONTWAIT);
        *length = n > 0 ? (size_t)n : 0;
        return (const void *)whole;
    }
    const struct frame *frame = (const void *)((const uint8_t *)slot + slot->tp_mac);
    *length = slot->tp_snaplen < slot->tp_len && (be32toh(frame->tag) & WHOLE) ? 0 : slot->tp_len; /* found no room */
    return frame;
}

#if defined(__x86_64__) || defined(__i386__)
#define rest() __builtin_ia32_pause()
#else
#define rest() ((void)0)
#endif

/* Whether a frame comes while we look from `begin` on; what that took is no work. */
static bool is_coming(uint64_t begin)
{
    uint64_t now = begin;
    bool is_here = false;
    for (; !is_here && now - begin < LOOK_NS; now = now_ns())
        for (int look = 0; look < LOOKS && !is_here; look++, rest())
            is_here = status_of(head()) & TP_STATUS_USER;
    note_wait(now - begin);
    return is_here;
}

static void give_back(void)
{
    __atomic_store_n(&head()->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    at = (at + 1) % SLOTS;
}

static void open_socket(void)
{
    uint32_t pid = (uint32_t)getpid();
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};
    int one = 1, room = 8 << 20;
    sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (sock < 0)
        die(1, "raw socket: %s", strerror(errno));
    memcpy(model.source, (const uint8_t[]){2, 0, pid >> 24, pid >> 16, pid >> 8, pid}, 6); /* no other load's */
    filter();
    map_ring();
    where.sll_ifindex = (int)if_nametoindex(interface);
    if (!where.sll_ifindex)
        die(2, "--interface: '%s' does not exist", interface);
    if (bind(sock, (struct sockaddr *)&where, sizeof where) < 0)
        die(1, "%s: %s", interface, strerror(errno));
    where.sll_protocol = 0;
    way_out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (way_out < 0 || bind(way_out, (struct sockaddr *)&where, sizeof where) < 0)
        die(1, "raw socket: %s", strerror(errno));
    setsockopt(way_out, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    setsockopt(way_out, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    memset(model.destination, 255, 6);
    model.type = htons(ETHERTYPE);
    model.version = 0x10;
    model.shelf = htobe16((uint16_t)shelf);
    model.slot = (uint8_t)target;
}

/* Send the model and wait for the target's answer to it, a few times. */
static void ask(uint32_t tag, void *into, size_t size)
{ /* 32 bytes: an answer to a query without a string, unpadded as a virtual cable passes it on */
    model.tag = htobe32(tag);
    for (int attempt = 0; attempt < 10; attempt++) {
        struct pollfd wait = {.fd = sock, .events = POLLIN};
        if (send(way_out, &model, 60, 0) < 0)
            die(1, "%s: %s", interface, strerror(errno));
        while (poll(&wait, 1, 500) > 0) {
            size_t length;
            const struct frame *answer = next_frame(&length);
            bool is_it = answer && length >= 32 && length <= size && (answer->version & 8) &&
                         answer->tag == model.tag && !(answer->version & 4);
            if (is_it)
                memcpy(into, answer, length);
            if (answer)
                give_back();
            if (is_it)
                return;
        }
    }
    die(1, "no target e%ld.%ld answers on %s", shelf, target, interface);
}

/* Learn the target's MAC by a query, and its size by IDENTIFY DEVICE (words 100 to 103). */
static void find_target(void)
{
    uint8_t answer[2048];
    model.command = 1;
    ask(WHOLE, answer, sizeof answer);
    memcpy(model.destination, answer + 6, 6);
    model.command = 0;
    model.sectors = 1;
    model.ata = 0xec;
    ask(WHOLE + 1, answer, sizeof answer);
    memcpy(&size, answer + 36 + 200, 8);
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
    slots[slot].tag = (slots[slot].tag + BATCH) & (WHOLE - 1);
    if (reference && ++prepared % compare_each == 0)
        slots[slot].tag |= WHOLE;
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
    if (tag & WHOLE)
        compare(slot->lba * 512, (const uint8_t *)answer + 36, (size_t)sectors * 512);
    return true;
}

/* What came, and as many requests in its place; whether anything did. */
static bool take_answers(void)
{
    const struct frame *answer;
    unsigned asked = 0, taken = 0;
    uint64_t now = now_ns();
    for (size_t length; taken < BATCH && (answer = next_frame(&length)); taken++, give_back()) {
        if (!is_answer(answer, length))
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
    return taken;
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

static void run(void)
{
    struct pollfd wait = {.fd = sock, .events = POLLIN};
    uint64_t begin = now_ns(), heard = begin, checked = begin, now;
    deadline = begin + run_ns;
    for (unsigned slot = 0; slot < (unsigned)depth; slot++) {
        slots[slot].tag = slot;
        prepare(slot, slot, begin);
    }
    send_frames((unsigned)depth);
    while (in_flight) {
        bool came = take_answers();
        now = now_ns();
        if (came)
            heard = now;
        else if (!may_look || !is_coming(now))
            poll(&wait, 1, 50);
        if (now - checked > RESEND_NS / 4) {
            checked = now;
            resend_overdue(now);
        }
        evict(now);
        if (now - heard > STALL_NS)
            die(1, "the target answers no more");
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"interface", 1, 0, 'i'}, {"shelf", 1, 0, 's'},   {"slot", 1, 0, 'n'},    {"depth", 1, 0, 'd'},
        {"sectors", 1, 0, 'c'},   {"seconds", 1, 0, 't'}, {"compare", 1, 0, 'm'},
        {"sample", 1, 0, 'p'},    {"no-look", 0, 0, 'k'}, {"evict", 1, 0, 'v'},
        {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
        case 'i': interface = optarg; break;
        case 's': shelf = number("shelf", optarg, 0, 65534); break;
        case 'n': target = number("slot", optarg, 0, 254); break;
        case 'd': depth = number("depth", optarg, 1, BATCH); break;
        case 'c': sectors = number("sectors", optarg, 1, 17); break; /* as many as a frame of 9000 bytes bears */
        case 't': run_ns = duration(optarg); break;
        case 'm': map_reference(optarg); break;
        case 'p': map_reference(optarg), compare_each = SAMPLE; break;
        case 'k': may_look = false; break;
        case 'v': open_evicted(optarg); break;
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
        outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &out_pieces[i], .msg_iovlen = 1};
    }
    announce_start();
    double cpu = cpu_seconds();
    run();
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
