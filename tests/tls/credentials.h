/* credentials.h - what servers of the tests have: a chain that make_certificates.pl made, its key,
   and an eye for the certificates of clients. */
#ifndef TEST_TLS_CREDENTIALS_H
#define TEST_TLS_CREDENTIALS_H

#include <bearssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATES "build/tls/" /* made by make_certificates.pl */
#define SERVER_NAME  "www.example.test"

/* A whole file, with a NUL behind it; NULL: it is not there. */
static inline uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t have = 0, count = 1;

    *size = 0;
    if (!file)
        return NULL;
    while (count) {
        bytes = (uint8_t *)realloc(bytes, have + 65537);
        if (!bytes)
            abort();
        count = fread(bytes + have, 1, 65536, file);
        have += count;
    }
    fclose(file);
    bytes[have] = 0;
    *size = have;
    return bytes;
}

/* --- a chain and its key ---------------------------------------------------------------------- */

typedef struct credentials {
    br_x509_certificate chain[4];
    size_t count; /* of the chain; 0: there are none */
    br_skey_decoder_context key;
    uint8_t *file;
} credentials;

static inline void credentials_bytes(void *context, const void *bytes, size_t size)
{
    br_skey_decoder_push((br_skey_decoder_context *)context, bytes, size);
}

static inline void credentials_key(credentials *c, const char *path)
{
    size_t size, at = 0;
    uint8_t *text = read_whole(path, &size);
    br_pem_decoder_context pem;

    br_skey_decoder_init(&c->key);
    br_pem_decoder_init(&pem);
    while (text && at < size) {
        at += br_pem_decoder_push(&pem, text + at, size - at);
        if (br_pem_decoder_event(&pem) == BR_PEM_BEGIN_OBJ)
            br_pem_decoder_setdest(&pem, credentials_bytes, &c->key);
        else if (br_pem_decoder_event(&pem) == BR_PEM_END_OBJ)
            break;
    }
    free(text);
}

/* Those of one of the chains, by its name. */
static inline void credentials_load(credentials *c, const char *name)
{
    char path[200];
    size_t size, at = 0;

    snprintf(path, sizeof path, CERTIFICATES "%s.key", name);
    credentials_key(c, path);
    snprintf(path, sizeof path, CERTIFICATES "%s.chain", name);
    c->file = read_whole(path, &size);
    for (c->count = 0; c->file && at + 4 < size && c->count < 4; c->count++) {
        br_x509_certificate *certificate = &c->chain[c->count];

        certificate->data_len = ((size_t)c->file[at + 2] << 8) | c->file[at + 3];
        certificate->data = c->file + at + 4;
        at += 4 + certificate->data_len;
    }
}

static inline void credentials_free(credentials *c)
{
    free(c->file);
    memset(c, 0, sizeof *c);
}

/* --- clients ---------------------------------------------------------------------------------- */

/* A certificate of the client's: any will do, if the client has its key. */
typedef struct anyone {
    const br_x509_class *vtable;
    br_x509_decoder_context decoder;
    int count;
} anyone;

static inline void anyone_start(const br_x509_class **c, const char *name)
{
    (void)name;
    ((anyone *)(void *)c)->count = 0;
}
static inline void anyone_cert(const br_x509_class **c, uint32_t length)
{
    (void)length;
    if (!((anyone *)(void *)c)->count++)
        br_x509_decoder_init(&((anyone *)(void *)c)->decoder, NULL, NULL);
}
static inline void anyone_append(const br_x509_class **c, const unsigned char *b, size_t n)
{
    if (((anyone *)(void *)c)->count == 1)
        br_x509_decoder_push(&((anyone *)(void *)c)->decoder, b, n);
}
static inline void anyone_end(const br_x509_class **c)
{
    (void)c;
}
static inline unsigned anyone_verdict(const br_x509_class **c)
{
    return ((anyone *)(void *)c)->count ? 0 : BR_ERR_X509_EMPTY_CHAIN;
}
static inline const br_x509_pkey *anyone_key(const br_x509_class *const *c, unsigned *usages)
{
    anyone *any = (anyone *)(uintptr_t)c;

    if (usages)
        *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return br_x509_decoder_get_pkey(&any->decoder);
}
static const br_x509_class anyone_class = {sizeof(anyone), anyone_start, anyone_cert,
                                           anyone_append,  anyone_end,   anyone_verdict,
                                           anyone_key};

#endif
