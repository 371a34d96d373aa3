
/* The finalizer of MurmurHash3 (Austin Appleby, public domain). */


#ifndef NGX_HTTP_CONCERT_MIX_H_INCLUDED
#define NGX_HTTP_CONCERT_MIX_H_INCLUDED


#include <stdint.h>


static inline uint64_t
ngx_http_concert_mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccd;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53;
    x ^= x >> 33;

    return x;
}


#endif /* NGX_HTTP_CONCERT_MIX_H_INCLUDED */
