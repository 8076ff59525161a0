# How threads share a core: who answers from memory goes before who waits for a disk anyhow. Each function is for the
# calling thread alone and changes nothing where an operator chose a policy (chrt); what the kernel refuses stays as it was.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <sched.h>
    #include <stdint.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    /* The kernel's struct sched_attr, which C libraries before glibc 2.41 don't have. */
    struct rootwire_sched_attr {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    };
    """
    struct Attributes "rootwire_sched_attr":
        uint32_t size
        uint32_t policy
        int32_t nice
        uint64_t runtime
    int SCHED_OTHER
    int SCHED_IDLE
    long SYS_sched_getattr
    long SYS_sched_setattr
    long syscall(long number, ...) nogil

cdef enum:
    LEAST_NICE = 19  # a seventieth of a busy core's time
    SHORT_SLICE = 100_000  # nanoseconds; the least that Linux 6.12 and later take, earlier ones take no notice


cdef inline bint is_ordinary(Attributes *attributes) noexcept nogil:
    # Whether the thread has the policy that every process begins with; fills in what it has.
    memset(attributes, 0, sizeof(Attributes))
    attributes.size = sizeof(Attributes)
    return syscall(SYS_sched_getattr, 0, attributes, sizeof(Attributes), 0) == 0 and attributes.policy == SCHED_OTHER


cdef inline void give_way(bint wholly) noexcept nogil:
    # To every other thread; wholly: run only where a core would be idle, which on a busy one may be never.
    cdef Attributes attributes
    if not is_ordinary(&attributes):
        return
    attributes.nice = LEAST_NICE
    if wholly:
        attributes.policy = SCHED_IDLE
    syscall(SYS_sched_setattr, 0, &attributes, 0)


cdef inline void ask_short_slices() noexcept nogil:
    # Have a turn sooner when it wakes, and shorter ones: for who wakes often and does little each time.
    cdef Attributes attributes
    if not is_ordinary(&attributes):
        return
    attributes.runtime = SHORT_SLICE
    syscall(SYS_sched_setattr, 0, &attributes, 0)
