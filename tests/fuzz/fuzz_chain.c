/* Any bytes as a chain through the validator: a byte of options, one for the size of the pieces, then
   certificates with two bytes of length before each, of which the first is trusted. What is taken has
   the name, the key and the dates; the answers of the validator agree with each other. */
#include "fuzz.h"

#define NOW INT64_C(1781524800) /* 2026-06-15 12:00:00 */

static int64_t clock_now(void *user)
{
    return user ? NOW : 0;
}

static int verify(void *user, const asocket_tls_peer *peer)
{
    size_t i, sum = 0;

    for (i = 0; i < peer->count; i++)
        if (peer->chain[i].size)
            sum += peer->chain[i].der[0] + peer->chain[i].der[peer->chain[i].size - 1];
    must(!peer->verdict == !*peer->reason);
    return user && sum % 7 == 3;
}

/* The next certificate: where its bytes are; NULL: there is none. */
static const uint8_t *next(const uint8_t **at, const uint8_t *end, size_t *size)
{
    const uint8_t *bytes = *at + 2;

    if (end - *at < 2)
        return NULL;
    *size = (size_t)(*at)[0] << 8 | (*at)[1];
    if (*size > (size_t)(end - bytes))
        *size = (size_t)(end - bytes);
    *at = bytes + *size;
    return bytes;
}

static unsigned drive(asocket__tls_validator *validator, const uint8_t *at, const uint8_t *end,
                      size_t piece)
{
    const br_x509_class **engine = &validator->vtable;
    const uint8_t *bytes;
    size_t size;

    (*engine)->start_chain(engine, NULL);
    while ((bytes = next(&at, end, &size)) != NULL) {
        (*engine)->start_cert(engine, (uint32_t)size);
        while (size) {
            size_t part = size < piece ? size : piece;
            uint8_t *copy = exactly(bytes, part);

            (*engine)->append(engine, copy, part);
            free(copy);
            bytes += part;
            size -= part;
        }
        (*engine)->end_cert(engine);
    }
    return (*engine)->end_chain(engine);
}

static void look_at_taken(const asocket__tls_check *check, const asocket__tls_validator *validator)
{
    asocket__tls_x509 leaf;

    must(validator->count >= 1 && validator->count <= check->chain_certificates);
    must(!asocket__tls_x509_read(&leaf, validator->chain, validator->ends[0]));
    must(validator->key.key_type == leaf.key.key_type && leaf.key.key_type);
    must(validator->usages & BR_KEYTYPE_SIGN);
    if (check->pin_only || check->insecure)
        return;
    must(leaf.names.at && asocket__tls_name_matches(leaf.names, check->server_name));
    must(leaf.server && leaf.usage & 0x80 && !leaf.unknown.at && !leaf.twice.at);
    must(!check->user || (leaf.from <= NOW && NOW <= leaf.to));
    must(leaf.key.key_type != BR_KEYTYPE_RSA || (leaf.bits >= 2048 && leaf.bits <= 4096));
    must((!leaf.ca && leaf.hash >= br_sha256_ID) || asocket__tls_trust_has(check->trust, &leaf));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"www.example.test", "127.0.0.1", "localhost", "*.test"};
    static const uint8_t pins[1][32] = {{0}};
    const uint8_t *at = bytes + 2, *end = bytes + size, *root;
    asocket__tls_validator validator;
    asocket__tls_check check;
    asocket_tls_failure failure;
    size_t length;
    unsigned error;

    if (size < 4)
        return 0;
    memset(&check, 0, sizeof check);
    memset(&failure, 0, sizeof failure);
    check.server_name = names[bytes[0] & 3];
    check.trust = asocket_tls_trust_create();
    check.pins = pins;
    check.pin_count = bytes[0] >> 2 & 1;
    check.pin_only = (bytes[0] & 0x18) == 0x18;
    check.insecure = (bytes[0] & 0x38) == 0x20;
    check.clock = bytes[0] & 0x40 ? ASOCKET_TLS_CLOCK_FROM_CHAIN : ASOCKET_TLS_CLOCK_REQUIRED;
    check.now = clock_now;
    check.user = bytes[0] & 0x40 ? NULL : &check;
    check.verify = bytes[0] & 0x80 ? verify : NULL;
    check.chain_certificates = 10;
    check.chain_bytes = 6000;
    root = next(&at, end, &length);
    if (root)
        (void)asocket_tls_trust_add_der(check.trust, root, length);
    asocket__tls_validator_init(&validator, &check, &failure);
    error = drive(&validator, at, end, bytes[1] ? bytes[1] * 8u : 1u);
    must((error == 0) == (failure.reason == ASOCKET_TLS_OK));
    must((error == 0) == (validator.vtable->get_pkey(&validator.vtable, NULL) != NULL));
    must(error == 0 || (failure.sentence[0] && failure.status && error < 64));
    if (!error)
        look_at_taken(&check, &validator);
    asocket__tls_validator_free(&validator);
    asocket_tls_trust_release(check.trust);
    return 0;
}
