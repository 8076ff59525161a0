# What native code uses of POSIX threads: locks, conditions, one value a thread.
cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef unsigned int pthread_key_t
    int pthread_mutex_init(pthread_mutex_t *lock, void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *lock)
    int pthread_mutex_lock(pthread_mutex_t *lock)
    int pthread_mutex_unlock(pthread_mutex_t *lock)
    int pthread_cond_init(pthread_cond_t *condition, void *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
    int pthread_cond_broadcast(pthread_cond_t *condition)
    int pthread_key_create(pthread_key_t *key, void (*destroy)(void *) noexcept nogil)
    int pthread_setspecific(pthread_key_t key, const void *value)
    void *pthread_getspecific(pthread_key_t key)
