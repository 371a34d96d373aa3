
/*
 * Verifies who signed a JSON Web Token (RFC 7519) and reads the user out of
 * it, by libjwt.  Knows nothing of nginx: keys and time are passed in, so that
 * it is tested and fuzzed alone.
 */


#ifndef NGX_HTTP_CONCERT_JWT_H_INCLUDED
#define NGX_HTTP_CONCERT_JWT_H_INCLUDED


#include <jwt.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>


/* how many keys may be valid at once, while one follows another */
#define NGX_HTTP_CONCERT_JWT_KEYS  4


/*
 * A key is good for one algorithm, that of its type, whatever the header of a
 * token says (RFC 8725, 3.1): so nobody can sign with a public key as if it
 * were a secret.
 */

typedef struct {
    jwt_alg_t                   alg;
    const unsigned char        *data;
    int                         len;
} ngx_http_concert_jwt_key_t;


typedef struct {
    ngx_http_concert_jwt_key_t  keys[NGX_HTTP_CONCERT_JWT_KEYS];
    size_t                      nkeys;
    const char                 *audience;  /* NULL: tokens must name none */
    const char                 *issuer;    /* NULL: any */
    time_t                      leeway;    /* s that clocks may differ */
} ngx_http_concert_jwt_conf_t;


/*
 * Takes what a key file holds: a public key in PEM, RSA of at least 2048 bits
 * (RS256) or on the curve P-256 (ES256), or anything else of at least 32 bytes
 * as a secret (HS256).  Returns NULL, or what is wrong with it: a phrase to
 * follow the file's name.  The data is kept, not copied; it ends with a NUL
 * byte that len does not count.
 */
const char *ngx_http_concert_jwt_key(ngx_http_concert_jwt_key_t *key,
    const unsigned char *data, size_t len);

/*
 * Reads the user, the claim "sub", and when the token ends, in s since the
 * epoch, with the leeway.  Returns NULL, or a sentence that says what is wrong
 * with the token.
 */
const char *ngx_http_concert_jwt_verify(
    const ngx_http_concert_jwt_conf_t *conf, const char *token, time_t now,
    int64_t *user_id, time_t *ends);


#endif /* NGX_HTTP_CONCERT_JWT_H_INCLUDED */
