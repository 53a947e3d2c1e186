/* Any bytes as a certificate: what is accepted lies inside of it, is the same when read again, and
   agrees with BearSSL's own decoder where that accepts it, too. */
#include "fuzz.h"

static bool inside(const asocket__tls_x509 *x509, asocket__tls_span span)
{
    return (!span.at && !span.end) ||
           (span.at >= x509->der.at && span.at <= span.end && span.end <= x509->der.end);
}

static void look_at_key(const asocket__tls_x509 *x509)
{
    const br_x509_pkey *key = &x509->key;
    asocket__tls_span span;

    if (key->key_type == BR_KEYTYPE_RSA) {
        span.at = key->key.rsa.n;
        span.end = span.at + key->key.rsa.nlen;
        must(inside(x509, span) && span.at < span.end && *span.at && span.end[-1] & 1);
        must(x509->bits > (key->key.rsa.nlen - 1) * 8 && x509->bits <= key->key.rsa.nlen * 8);
        span.at = key->key.rsa.e;
        span.end = span.at + key->key.rsa.elen;
        must(inside(x509, span) && span.at < span.end && *span.at && span.end[-1] & 1);
    } else if (key->key_type == BR_KEYTYPE_EC) {
        span.at = key->key.ec.q;
        span.end = span.at + key->key.ec.qlen;
        must(inside(x509, span) && *span.at == 4);
        must(key->key.ec.curve >= BR_EC_secp256r1 && key->key.ec.curve <= BR_EC_secp521r1);
    } else {
        must(!key->key_type);
    }
}

static void look_at_bearssl(const asocket__tls_x509 *x509)
{
    br_x509_decoder_context decoder;
    const br_x509_pkey *key;

    br_x509_decoder_init(&decoder, NULL, NULL);
    br_x509_decoder_push(&decoder, x509->der.at, asocket__tls_span_size(x509->der));
    key = br_x509_decoder_get_pkey(&decoder);
    if (!key || !x509->key.key_type)
        return;
    must(key->key_type == x509->key.key_type);
    if (key->key_type == BR_KEYTYPE_RSA)
        must(key->key.rsa.nlen == x509->key.key.rsa.nlen &&
             key->key.rsa.elen == x509->key.key.rsa.elen &&
             !memcmp(key->key.rsa.n, x509->key.key.rsa.n, key->key.rsa.nlen) &&
             !memcmp(key->key.rsa.e, x509->key.key.rsa.e, key->key.rsa.elen));
    else
        must(key->key.ec.curve == x509->key.key.ec.curve &&
             key->key.ec.qlen == x509->key.key.ec.qlen &&
             !memcmp(key->key.ec.q, x509->key.key.ec.q, key->key.ec.qlen));
    must(((int64_t)decoder.notbefore_days - 719528) * 86400 + decoder.notbefore_seconds ==
         x509->from);
    must(((int64_t)decoder.notafter_days - 719528) * 86400 + decoder.notafter_seconds == x509->to);
    if (!x509->twice.at)
        must(!decoder.isCA == !x509->ca);
}

static void look_at_words(const asocket__tls_x509 *x509)
{
    char text[120], date[40];
    size_t i;

    asocket__tls_common_name(text, x509->subject);
    asocket__tls_print_names(text, sizeof text, x509->names);
    must(strlen(text) < sizeof text);
    for (i = 0; text[i]; i++)
        must(text[i] >= ' ' && text[i] <= '~');
    asocket__tls_print_oid(text, 48, x509->unknown.at ? x509->unknown : x509->twice);
    must(strlen(text) < 48);
    asocket__tls_print_date(date, x509->from);
    must(strlen(date) >= 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = exactly(bytes, size);
    asocket__tls_x509 x509, again;
    const char *wrong = asocket__tls_x509_read(&x509, copy, size);

    must(inside(&x509, x509.issuer) && inside(&x509, x509.subject) && inside(&x509, x509.spki) &&
         inside(&x509, x509.names) && inside(&x509, x509.unknown) && inside(&x509, x509.twice));
    if (!wrong) {
        must(x509.issuer.at && x509.subject.at && x509.spki.at);
        must(x509.version >= 1 && x509.version <= 3 && x509.hash <= br_sha512_ID);
        look_at_key(&x509);
        look_at_bearssl(&x509);
        look_at_words(&x509);
        must(!asocket__tls_x509_read(&again, copy, size) && again.from == x509.from &&
             again.ca == x509.ca && again.names.at == x509.names.at);
        if (x509.names.at) {
            (void)asocket__tls_name_matches(x509.names, "www.example.test");
            (void)asocket__tls_name_matches(x509.names, "127.0.0.1");
        }
    }
    free(copy);
    return 0;
}
