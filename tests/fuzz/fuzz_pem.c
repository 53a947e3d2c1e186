/* Any text as PEM: blocks are decoded as by a slow and simple decoder, in place as well as apart, and
   what is trusted is the same however often it is added. */
#include "fuzz.h"

/* The bytes of a text in base64, white space passed over; -1: it is none. */
static long simple(const char *text, const char *end, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t word = 0;
    int bits = 0, characters = 0, pads = 0;
    long size = 0;

    for (; text < end; text++) {
        const char *digit = *text ? strchr(digits, *text) : NULL;

        if (*text && strchr(" \t\r\n\f\v", *text))
            continue;
        if (*text == '=') {
            pads++;
        } else if (!digit || pads) {
            return -1;
        } else {
            word = (word << 6 | (uint32_t)(digit - digits)) & 0xFFFFFF;
            characters++;
            bits += 6;
            if (bits >= 8) {
                bits -= 8;
                out[size++] = (uint8_t)(word >> bits);
            }
        }
    }
    if (pads > 2 || (characters + pads) % 4 != 0 || characters % 4 == 1 ||
        (pads && characters % 4 == 0))
        return -1;
    return size;
}

static void look_at_base64(const uint8_t *bytes, size_t size)
{
    uint8_t *text = exactly(bytes, size), *apart = exactly(bytes, size),
            *slow = exactly(bytes, size);
    asocket__tls_span span;
    size_t apart_size = 0, place_size = 0;
    long slow_size = simple((const char *)bytes, (const char *)bytes + size, slow);
    bool good;

    span.at = text;
    span.end = text + size;
    good = asocket__tls_base64_read(span, apart, &apart_size);
    must(good == (slow_size >= 0));
    must(!good || (apart_size == (size_t)slow_size && !memcmp(apart, slow, apart_size)));
    must(asocket__tls_base64_read(span, text, &place_size) == good);
    must(!good || (place_size == apart_size && !memcmp(text, apart, apart_size)));
    free(text);
    free(apart);
    free(slow);
}

static void look_at_blocks(const uint8_t *bytes, size_t size)
{
    uint8_t *text = exactly(bytes, size), *out = exactly(bytes, size);
    size_t at = 0, before = 0, total = 0, length;
    char label[32];
    int found;

    while ((found = asocket__tls_pem_next(text, size, &at, label, out + total, &length)) != 0) {
        must(at > before && at <= size && strlen(label) < sizeof label);
        must(found == 1 || !length);
        total += length;
        must(total <= at / 4 * 3);
        before = at;
    }
    must(at == size);
    free(text);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = exactly(bytes, size);
    asocket_tls_trust *trust = asocket_tls_trust_create();
    int strict, lenient;
    size_t count;

    look_at_base64(bytes, size);
    look_at_blocks(bytes, size);
    must(trust);
    strict = asocket_tls_trust_add_pem(trust, copy, size);
    count = asocket_tls_trust_count(trust);
    must(strict > 0 ? count >= 1 && count <= (size_t)strict
                    : strict == ASOCKET_EINVAL && !count && *asocket_tls_trust_message(trust));
    lenient = asocket__tls_trust_take(trust, copy, size, true);
    must(strict > 0 ? lenient == strict && asocket_tls_trust_count(trust) == count : lenient != 0);
    asocket_tls_trust_release(trust);
    free(copy);
    return 0;
}
