
#include "core/fault.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>


#define NGX_HTTP_CONCERT_FAULT_TEXT  256


typedef struct {
    const void                     *what;       /* NULL: none */
    ngx_http_concert_fault_kind_e   kind;
    uint64_t                        cause;
    int64_t                         told;       /* ms */
    int64_t                         last;
    uint64_t                        times;
    uint64_t                        untold;
    int                             ended;
    char                            text[NGX_HTTP_CONCERT_FAULT_TEXT];
} ngx_http_concert_fault_t;


static uint64_t ngx_http_concert_fault_cause(const char *cause, size_t len);
static ngx_http_concert_fault_t *ngx_http_concert_fault_find(
    const void *what, ngx_http_concert_fault_kind_e kind, uint64_t cause);
static uint64_t ngx_http_concert_fault_again(ngx_http_concert_fault_t *fault,
    int64_t now);
static ngx_http_concert_fault_t *ngx_http_concert_fault_room(void);
static uint64_t ngx_http_concert_fault_take(ngx_http_concert_fault_t *fault,
    int64_t now, char *text, size_t size);


static pthread_mutex_t  ngx_http_concert_faults_lock =
    PTHREAD_MUTEX_INITIALIZER;

static ngx_http_concert_fault_t
    ngx_http_concert_faults[NGX_HTTP_CONCERT_FAULTS];

/* that there are any is asked by all that goes well, without the lock */
static unsigned  ngx_http_concert_nfaults;


uint64_t
ngx_http_concert_fault(const void *what, ngx_http_concert_fault_kind_e kind,
    const char *cause, size_t len, const char *text, int64_t now)
{
    uint64_t                   hash, times;
    ngx_http_concert_fault_t  *fault;

    hash = ngx_http_concert_fault_cause(cause, len);
    times = 1;

    pthread_mutex_lock(&ngx_http_concert_faults_lock);

    fault = ngx_http_concert_fault_find(what, kind, hash);

    if (fault) {
        times = ngx_http_concert_fault_again(fault, now);

    } else {
        fault = ngx_http_concert_fault_room();

        fault->what = what;
        fault->kind = kind;
        fault->cause = hash;
        fault->told = now;
        fault->last = now;
        fault->times = 1;
        fault->untold = 0;
        fault->ended = 0;
        snprintf(fault->text, sizeof(fault->text), "%s", text);
    }

    pthread_mutex_unlock(&ngx_http_concert_faults_lock);

    return times;
}


/* FNV-1a; a number of a row or of a process makes no other cause */

static uint64_t
ngx_http_concert_fault_cause(const char *cause, size_t len)
{
    size_t    i;
    uint64_t  hash;

    hash = UINT64_C(0xcbf29ce484222325);

    for (i = 0; i < len; i++) {
        if (cause[i] < '0' || cause[i] > '9') {
            hash = (hash ^ (unsigned char) cause[i]) * UINT64_C(0x100000001b3);
        }
    }

    return hash;
}


static ngx_http_concert_fault_t *
ngx_http_concert_fault_find(const void *what,
    ngx_http_concert_fault_kind_e kind, uint64_t cause)
{
    size_t                     i;
    ngx_http_concert_fault_t  *fault;

    for (i = 0; i < NGX_HTTP_CONCERT_FAULTS; i++) {
        fault = &ngx_http_concert_faults[i];

        if (fault->what == what && fault->kind == kind
            && fault->cause == cause)
        {
            return fault;
        }
    }

    return NULL;
}


static uint64_t
ngx_http_concert_fault_again(ngx_http_concert_fault_t *fault, int64_t now)
{
    uint64_t  times;

    fault->last = now;
    fault->times++;
    fault->untold++;
    fault->ended = 0;

    if (now - fault->told < NGX_HTTP_CONCERT_FAULT_AGAIN) {
        return 0;
    }

    times = fault->untold;

    fault->told = now;
    fault->untold = 0;

    return times;
}


/* a free place, or that of the fault that was last seen the longest ago */

static ngx_http_concert_fault_t *
ngx_http_concert_fault_room(void)
{
    size_t                     i;
    ngx_http_concert_fault_t  *fault, *oldest;

    oldest = ngx_http_concert_faults;

    for (i = 0; i < NGX_HTTP_CONCERT_FAULTS; i++) {
        fault = &ngx_http_concert_faults[i];

        if (fault->what == NULL) {
            (void) __atomic_add_fetch(&ngx_http_concert_nfaults, 1,
                                      __ATOMIC_RELAXED);
            return fault;
        }

        if (fault->last < oldest->last) {
            oldest = fault;
        }
    }

    return oldest;
}


void
ngx_http_concert_fault_ended(const void *what,
    ngx_http_concert_fault_kind_e kind)
{
    size_t                     i;
    ngx_http_concert_fault_t  *fault;

    if (__atomic_load_n(&ngx_http_concert_nfaults, __ATOMIC_RELAXED) == 0) {
        return;
    }

    pthread_mutex_lock(&ngx_http_concert_faults_lock);

    for (i = 0; i < NGX_HTTP_CONCERT_FAULTS; i++) {
        fault = &ngx_http_concert_faults[i];

        if (fault->what == what && fault->kind == kind) {
            fault->ended = 1;
        }
    }

    pthread_mutex_unlock(&ngx_http_concert_faults_lock);
}


uint64_t
ngx_http_concert_fault_over(int64_t now, char *text, size_t size)
{
    size_t    i;
    uint64_t  times;

    if (__atomic_load_n(&ngx_http_concert_nfaults, __ATOMIC_RELAXED) == 0) {
        return 0;
    }

    times = 0;

    pthread_mutex_lock(&ngx_http_concert_faults_lock);

    for (i = 0; i < NGX_HTTP_CONCERT_FAULTS && times == 0; i++) {
        times = ngx_http_concert_fault_take(&ngx_http_concert_faults[i], now,
                                            text, size);
    }

    pthread_mutex_unlock(&ngx_http_concert_faults_lock);

    return times;
}


static uint64_t
ngx_http_concert_fault_take(ngx_http_concert_fault_t *fault, int64_t now,
    char *text, size_t size)
{
    if (fault->what == NULL || !fault->ended
        || now - fault->last < NGX_HTTP_CONCERT_FAULT_QUIET)
    {
        return 0;
    }

    fault->what = NULL;
    (void) __atomic_sub_fetch(&ngx_http_concert_nfaults, 1, __ATOMIC_RELAXED);

    /* that a group is back is told at once */

    if (fault->kind == NGX_HTTP_CONCERT_FAULT_AWAY && fault->times == 1) {
        return 0;
    }

    snprintf(text, size, "%s", fault->text);

    return fault->times;
}
