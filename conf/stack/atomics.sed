# For ThreadSanitizer: two things that threads of nginx tell each other by plain
# stores, which is enough on x86 but no order that the sanitizer knows of. Said
# as the atomic stores that they are, it sees what comes before what, and what
# our code does between them need not be suppressed.

# src/os/unix/ngx_atomic.h: the end of a spinlock
s/^\(#define ngx_unlock(lock)\) .*/\1  __atomic_store_n(lock, 0, __ATOMIC_RELEASE)/

# src/core/ngx_thread_pool.c: a thread of a pool has ended
s/^    \*lock = 0;/    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);/
s/^        while (lock) {/        while (__atomic_load_n(\&lock, __ATOMIC_ACQUIRE)) {/
