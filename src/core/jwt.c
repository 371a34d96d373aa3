
#include "core/jwt.h"
#include "core/json.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>


/* RFC 7518: 3.2, a secret as long as the hash; 3.3, the modulus of RSA */
#define NGX_HTTP_CONCERT_JWT_MIN_SECRET  32
#define NGX_HTTP_CONCERT_JWT_MIN_RSA     2048

/* s since the epoch in the year 9999: later times would not fit a time_t */
#define NGX_HTTP_CONCERT_JWT_MAX_TIME    253402300799.0


static jwt_alg_t ngx_http_concert_jwt_public_alg(EVP_PKEY *pkey);
static jwt_t *ngx_http_concert_jwt_decode(
    const ngx_http_concert_jwt_conf_t *conf, const char *token);
static const char *ngx_http_concert_jwt_claims(
    const ngx_http_concert_jwt_conf_t *conf, json_t *claims, time_t now,
    int64_t *user_id, time_t *ends);
static const char *ngx_http_concert_jwt_times(
    const ngx_http_concert_jwt_conf_t *conf, json_t *claims, time_t now,
    time_t *ends);
static int ngx_http_concert_jwt_names(json_t *audience, const char *name);
static int ngx_http_concert_jwt_user(json_t *subject, int64_t *user_id);


const char *
ngx_http_concert_jwt_key(ngx_http_concert_jwt_key_t *key,
    const unsigned char *data, size_t len)
{
    BIO       *bio;
    EVP_PKEY  *pkey;

    key->data = data;
    key->len = (int) len;

    if (strstr((const char *) data, "-----BEGIN ") == NULL) {
        key->alg = JWT_ALG_HS256;

        return len < NGX_HTTP_CONCERT_JWT_MIN_SECRET
               ? "has a secret of less than 32 bytes: write a longer one, as "
                 "\"openssl rand -hex 32\" makes"
               : NULL;
    }

    pkey = NULL;

    bio = BIO_new_mem_buf(data, (int) len);
    if (bio) {
        pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        BIO_free(bio);
    }

    ERR_clear_error();

    if (pkey == NULL) {
        return "has no public key: write one in PEM, as "
               "\"openssl pkey -pubout\" makes from a private key";
    }

    key->alg = ngx_http_concert_jwt_public_alg(pkey);

    EVP_PKEY_free(pkey);

    return key->alg == JWT_ALG_NONE
           ? "has a public key of another kind: write one of RSA with at "
             "least 2048 bits (RS256) or on the curve P-256 (ES256)"
           : NULL;
}


static jwt_alg_t
ngx_http_concert_jwt_public_alg(EVP_PKEY *pkey)
{
    char  curve[32];

    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
        return EVP_PKEY_get_bits(pkey) >= NGX_HTTP_CONCERT_JWT_MIN_RSA
               ? JWT_ALG_RS256 : JWT_ALG_NONE;
    }

    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC
        && EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME,
                                          curve, sizeof(curve), NULL)
        && strcmp(curve, "prime256v1") == 0)
    {
        return JWT_ALG_ES256;
    }

    return JWT_ALG_NONE;
}


const char *
ngx_http_concert_jwt_verify(const ngx_http_concert_jwt_conf_t *conf,
    const char *token, time_t now, int64_t *user_id, time_t *ends)
{
    char        *text;
    jwt_t       *jwt;
    json_t      *claims;
    const char  *wrong;

    jwt = ngx_http_concert_jwt_decode(conf, token);

    /* nginx would log what is left in OpenSSL's queue as an alert */
    ERR_clear_error();

    if (jwt == NULL) {
        return "The token is not a JWT that was signed with the right key and "
               "algorithm.";
    }

    wrong = "The token cannot be read.";

    text = jwt_get_grants_json(jwt, NULL);
    claims = text ? json_loads(text, 0, NULL) : NULL;

    if (claims) {
        wrong = ngx_http_concert_jwt_claims(conf, claims, now, user_id, ends);
    }

    json_decref(claims);
    free(text);
    jwt_free(jwt);

    return wrong;
}


/*
 * The token as one of the keys verifies it.  A header that must be understood
 * (RFC 7515, 4.1.11) is not.
 */

static jwt_t *
ngx_http_concert_jwt_decode(const ngx_http_concert_jwt_conf_t *conf,
    const char *token)
{
    char                              *critical;
    size_t                             i;
    jwt_t                             *jwt;
    const ngx_http_concert_jwt_key_t  *key;

    for (i = 0; i < conf->nkeys; i++) {
        key = &conf->keys[i];
        jwt = NULL;

        if (jwt_decode(&jwt, token, key->data, key->len) != 0) {
            continue;
        }

        critical = jwt_get_headers_json(jwt, "crit");

        if (jwt_get_alg(jwt) == key->alg && critical == NULL) {
            return jwt;
        }

        free(critical);
        jwt_free(jwt);
    }

    return NULL;
}


static const char *
ngx_http_concert_jwt_claims(const ngx_http_concert_jwt_conf_t *conf,
    json_t *claims, time_t now, int64_t *user_id, time_t *ends)
{
    json_t      *audience, *issuer;
    const char  *wrong;

    wrong = ngx_http_concert_jwt_times(conf, claims, now, ends);
    if (wrong) {
        return wrong;
    }

    /* RFC 7519, 4.1.3: one that names others only is not for us */

    audience = json_object_get(claims, "aud");

    if ((audience || conf->audience)
        && !ngx_http_concert_jwt_names(audience, conf->audience))
    {
        return "The token is for another audience; its aud must name this "
               "service.";
    }

    issuer = json_object_get(claims, "iss");

    if (conf->issuer && (!json_is_string(issuer)
                         || strcmp(json_string_value(issuer), conf->issuer)))
    {
        return "The token is from another issuer; its iss must be the one "
               "that this service trusts.";
    }

    if (ngx_http_concert_jwt_user(json_object_get(claims, "sub"), user_id)
        != 0)
    {
        return "The token names no user; its sub must be an integer from 1 to "
               "9007199254740991.";
    }

    return NULL;
}


static const char *
ngx_http_concert_jwt_times(const ngx_http_concert_jwt_conf_t *conf,
    json_t *claims, time_t now, time_t *ends)
{
    double   end;
    json_t  *exp, *nbf;

    exp = json_object_get(claims, "exp");
    nbf = json_object_get(claims, "nbf");

    if (!json_is_number(exp) || (nbf && !json_is_number(nbf))) {
        return "The token has no time at which it ends; its exp, and its nbf "
               "if there is one, must be numbers.";
    }

    end = json_number_value(exp) + (double) conf->leeway;

    if ((double) now >= end) {
        return "The token has expired; get a new one.";
    }

    if (nbf && (double) (now + conf->leeway) < json_number_value(nbf)) {
        return "The token is not valid yet; wait for its nbf.";
    }

    *ends = end < NGX_HTTP_CONCERT_JWT_MAX_TIME
            ? (time_t) end : (time_t) NGX_HTTP_CONCERT_JWT_MAX_TIME;

    return NULL;
}


/* whether an audience, one or many, names us */

static int
ngx_http_concert_jwt_names(json_t *audience, const char *name)
{
    size_t   i;
    json_t  *one;

    if (name == NULL) {
        return 0;
    }

    if (json_is_string(audience)) {
        return strcmp(json_string_value(audience), name) == 0;
    }

    json_array_foreach(audience, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), name) == 0) {
            return 1;
        }
    }

    return 0;
}


/* RFC 7519 has a string; a number says the same */

static int
ngx_http_concert_jwt_user(json_t *subject, int64_t *user_id)
{
    const char  *s;

    if (json_is_integer(subject)) {
        *user_id = json_integer_value(subject);

        return *user_id >= 1 && *user_id <= NGX_HTTP_CONCERT_MAX_INTEGER
               ? 0 : -1;
    }

    s = json_string_value(subject);

    return s ? ngx_http_concert_parse_integer(s, strlen(s), 1,
                                              NGX_HTTP_CONCERT_MAX_INTEGER,
                                              user_id)
             : -1;
}
