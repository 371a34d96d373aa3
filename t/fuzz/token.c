
/*
 * Signed tokens: without the key nobody makes one, whatever the bytes; and of
 * those that the key has signed, only those with claims that are right are
 * taken.  The first byte says what the others are: a whole token, the claims,
 * or the header.
 */

#include "core/json.c"
#include "core/jwt.c"
#include "fuzz.h"

#include <openssl/hmac.h>
#include <strings.h>


#define NOW     1800000000
#define SECRET  "a secret of thirty-two bytes, ok"
#define MOST    4096


static ngx_http_concert_jwt_conf_t  conf;


int LLVMFuzzerInitialize(int *argc, char ***argv);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    conf.nkeys = 1;
    conf.audience = "concert";

    promise(ngx_http_concert_jwt_key(&conf.keys[0],
                                     (const unsigned char *) SECRET,
                                     sizeof(SECRET) - 1)
            == NULL);

    return 0;
}


/* base64url without padding; returns its end */

static char *
encode(char *to, const void *data, size_t size)
{
    char  *p;
    int    n;

    n = EVP_EncodeBlock((unsigned char *) to, data, (int) size);

    while (n && to[n - 1] == '=') {
        n--;
    }

    to[n] = '\0';

    for (p = to; *p; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    return p;
}


static void
sign(char *token, const void *header, size_t header_size, const void *claims,
    size_t claims_size)
{
    char           *p;
    unsigned char   mac[32];
    unsigned        len;

    p = encode(token, header, header_size);
    *p++ = '.';
    p = encode(p, claims, claims_size);

    promise(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1,
                 (unsigned char *) token, p - token, mac, &len)
            != NULL);

    *p++ = '.';
    (void) encode(p, mac, len);
}


static json_t *
object_of(const void *data, size_t size)
{
    char    *text;
    json_t  *object;

    text = malloc(size + 1);
    promise(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';

    object = json_loads(text, 0, NULL);
    promise(object != NULL);

    free(text);

    return object;
}


/* no other algorithm, and nothing that must be understood (RFC 7515) */

static void
check_header(const void *data, size_t size)
{
    json_t  *header;

    header = object_of(data, size);

    promise(strcasecmp(json_string_value(json_object_get(header, "alg")),
                       "HS256")
            == 0);
    promise(json_object_get(header, "crit") == NULL);

    json_decref(header);
}


/* what was taken must be right, as read another way */

static void
check_claims(const void *data, size_t size, int64_t user, time_t ends)
{
    json_t      *claims, *sub;
    int64_t      expected;
    const char  *s;

    promise(user >= 1 && user <= NGX_HTTP_CONCERT_MAX_INTEGER);
    promise(ends >= NOW);

    claims = object_of(data, size);

    sub = json_object_get(claims, "sub");
    s = json_string_value(sub);

    if (s) {
        promise(reference_integer(s, strlen(s), 1,
                                  NGX_HTTP_CONCERT_MAX_INTEGER, &expected)
                == 0);
    } else {
        promise(json_is_integer(sub));
        expected = json_integer_value(sub);
    }

    promise(user == expected);
    promise(json_number_value(json_object_get(claims, "exp")) > NOW);
    promise(json_number_value(json_object_get(claims, "nbf")) <= NOW);

    json_decref(claims);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        *bytes, token[2 * MOST];
    int64_t      user;
    time_t       ends;
    const char  *wrong;

    static const char  header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    static const char  claims[] = "{\"sub\":\"7\",\"aud\":\"concert\","
                                  "\"exp\":1800000600}";

    if (size == 0 || size > MOST / 2) {
        return 0;
    }

    bytes = block_of(data + 1, size - 1);

    switch (data[0] % 3) {

    case 0:
        memcpy(token, bytes, size - 1);
        token[size - 1] = '\0';
        promise(ngx_http_concert_jwt_verify(&conf, token, NOW, &user, &ends)
                != NULL);
        break;

    case 1:
        sign(token, header, sizeof(header) - 1, bytes, size - 1);
        wrong = ngx_http_concert_jwt_verify(&conf, token, NOW, &user, &ends);

        if (wrong == NULL) {
            check_claims(bytes, size - 1, user, ends);
        }

        break;

    default:
        sign(token, bytes, size - 1, claims, sizeof(claims) - 1);
        wrong = ngx_http_concert_jwt_verify(&conf, token, NOW, &user, &ends);

        if (wrong == NULL) {
            check_header(bytes, size - 1);
        }
    }

    free(bytes);

    return 0;
}
