/* The chains of chains.tsv through the validator, as BearSSL drives it: certificate by certificate,
   in pieces of any size. None may pass that should not, none be refused that should pass, and each
   refusal says why.

   With the name of a chain as its second argument it looks at that one alone. */
#define TAP_SECONDS 300 /* under Valgrind */
#include "private_tls.h"
#include "chains.h"

enum { MOST = 24 }; /* certificates */

struct chain {
    uint8_t *bytes;
    const uint8_t *certificates[MOST];
    size_t sizes[MOST], count;
    uint8_t pins[4][32];
    size_t pin_count;
    asocket_tls_trust *trust;
};

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static int64_t clock_says;

static int64_t clock_now(void *user)
{
    (void)user;
    return clock_says;
}

static int hex_digit(uint8_t c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool chain_read(const char *name, struct chain *chain)
{
    char path[128];
    uint8_t *pins;
    size_t size, at = 0, i;

    memset(chain, 0, sizeof *chain);
    snprintf(path, sizeof path, CERTIFICATES "%s.chain", name);
    chain->bytes = read_whole(path, &size);
    if (!chain->bytes)
        return false;
    for (; at < size && chain->count < MOST; at += chain->sizes[chain->count++]) {
        const uint8_t *length = chain->bytes + at;

        chain->sizes[chain->count] = (size_t)length[2] << 8 | length[3] | (size_t)length[1] << 16;
        chain->certificates[chain->count] = chain->bytes + (at += 4);
    }
    snprintf(path, sizeof path, CERTIFICATES "%s.pins", name);
    pins = read_whole(path, &size);
    for (at = 0; pins && at + 64 <= size && chain->pin_count < 4; at += 65, chain->pin_count++)
        for (i = 0; i < 32; i++)
            chain->pins[chain->pin_count][i] =
                (uint8_t)(hex_digit(pins[at + 2 * i]) << 4 | hex_digit(pins[at + 2 * i + 1]));
    free(pins);
    chain->trust = asocket_tls_trust_create();
    snprintf(path, sizeof path, CERTIFICATES "%s.trust.pem", name);
    return chain->trust && (asocket_tls_trust_add_file(chain->trust, path) > 0 || chain->pin_count);
}

static void chain_free(struct chain *chain)
{
    asocket_tls_trust_release(chain->trust);
    free(chain->bytes);
}

/* All but the first the other way round. */
static void chain_reverse(struct chain *chain)
{
    size_t low = 1, high = chain->count;

    for (; low + 1 < high; low++) {
        const uint8_t *bytes = chain->certificates[low];
        size_t size = chain->sizes[low];

        chain->certificates[low] = chain->certificates[--high];
        chain->sizes[low] = chain->sizes[high];
        chain->certificates[high] = bytes;
        chain->sizes[high] = size;
    }
}

/* --- driving ---------------------------------------------------------------------------------- */

static int verify_answer, verify_calls, verify_saw;
static size_t verify_count;

static int verify(void *user, const asocket_tls_peer *peer)
{
    size_t i;

    verify_calls++;
    verify_saw = peer->verdict;
    verify_count = peer->count;
    for (i = 0; i < peer->count; i++) /* a checker sees whether it is all there */
        verify_answer |= memchr(peer->chain[i].der, 0, peer->chain[i].size) == (const void *)user;
    return verify_answer;
}

static asocket__tls_check check_of(const struct row *row, const struct chain *chain)
{
    const char *text;
    asocket__tls_check check;

    memset(&check, 0, sizeof check);
    check.server_name = row->host;
    check.trust = chain->trust;
    check.pins = chain->pin_count ? (const uint8_t(*)[32])chain->pins : NULL;
    check.pin_count = chain->pin_count;
    text = option(row, "certificates=");
    check.chain_certificates = text ? (size_t)atoi(text) : ASOCKET__TLS_CHAIN_CERTIFICATES;
    check.chain_bytes = ASOCKET__TLS_CHAIN_BYTES;
    text = option(row, "now=");
    clock_says = text ? atoi(text) : NOW;
    check.now = clock_now;
    check.clock =
        option(row, "clock=from_chain") ? ASOCKET_TLS_CLOCK_FROM_CHAIN : ASOCKET_TLS_CLOCK_REQUIRED;
    check.pin_only = option(row, "pin_only") != NULL;
    check.user = &check;
    return check;
}

/* Pieces of up to `most` bytes each (0: whole). What end_chain answered. */
static unsigned drive(asocket__tls_validator *validator, const struct chain *chain, uint32_t most)
{
    const br_x509_class **engine = &validator->vtable;
    size_t i, at;

    (*engine)->start_chain(engine, "not.the.name.to.verify");
    for (i = 0; i < chain->count; i++) {
        (*engine)->start_cert(engine, (uint32_t)chain->sizes[i]);
        for (at = 0; at < chain->sizes[i];) {
            size_t left = chain->sizes[i] - at, piece = most ? 1 + random_below(most) : left;
            uint8_t *copy;

            piece = piece < left ? piece : left;
            copy = exactly(chain->certificates[i] + at, piece);
            (*engine)->append(engine, copy, piece);
            free(copy);
            at += piece;
        }
        (*engine)->end_cert(engine);
    }
    return (*engine)->end_chain(engine);
}

/* One run: the reason, after looking at what must go with it. */
static asocket_tls_reason run(const struct row *row, const struct chain *chain, uint32_t most,
                              bool callback, asocket_tls_failure *failure)
{
    asocket__tls_check check = check_of(row, chain);
    asocket__tls_validator validator;
    const br_x509_class **engine = &validator.vtable;
    unsigned error, usages = 0;
    size_t size;
    uint8_t *leaf;
    bool has_key;

    memset(failure, 0, sizeof *failure);
    failure->alert = failure->alert_sent = -1;
    check.verify = callback ? verify : NULL;
    asocket__tls_validator_init(&validator, &check, failure);
    error = drive(&validator, chain, most);
    has_key = (*engine)->get_pkey(engine, &usages) != NULL;
    leaf = asocket__tls_validator_leaf(&validator, &size);
    if (has_key != !error || (error == 0) != (failure->reason == ASOCKET_TLS_OK) ||
        (leaf && (size != chain->sizes[0] || memcmp(leaf, chain->certificates[0], size))) ||
        !leaf != !has_key || (has_key && !(usages & BR_KEYTYPE_SIGN)) || failure->alert != -1 ||
        failure->alert_sent != -1 ||
        (failure->reason && (!failure->sentence[0] || strlen(failure->sentence) > 250))) {
        diag("%s: error %u, key %d, leaf %d, sentence \"%s\"", row->name, error, has_key,
             leaf != NULL, failure->sentence);
        failure->reason = ASOCKET__TLS_REASON_COUNT;
    }
    free(leaf);
    asocket__tls_validator_free(&validator);
    return failure->reason;
}

static void look_at(const struct row *row)
{
    asocket_tls_failure failure;
    asocket_tls_reason whole, bytes, pieces;
    struct chain chain;

    if (!chain_read(row->name, &chain)) {
        ok(false, "%s can be read: %s", row->name, asocket_tls_trust_message(chain.trust));
        chain_free(&chain);
        return;
    }
    whole = run(row, &chain, 0, false, &failure);
    bytes = strstr(row->name, "large") ? whole : run(row, &chain, 1, false, &failure);
    pieces = run(row, &chain, 700, false, &failure);
    if (!ok(whole == bytes && whole == pieces && whole < ASOCKET__TLS_REASON_COUNT &&
                strcmp(reasons[whole], row->verdict) == 0 &&
                has_words(failure.sentence, row->words),
            "P15: %s for %s: %s", row->name, row->host, row->verdict))
        diag("%s, in single bytes %s: \"%s\", expected \"%s\"", reasons[whole], reasons[bytes],
             failure.sentence, row->words);
    if (getenv("TEST_WORDS"))
        diag("%s: %s", row->name, failure.sentence);
    chain_reverse(&chain);
    pieces = run(row, &chain, 0, false, &failure);
    if ((pieces == ASOCKET_TLS_OK) != (whole == ASOCKET_TLS_OK))
        ok(false, "P15: %s: the order behind the first does not matter: %s", row->name,
           failure.sentence);
    chain_reverse(&chain);
    verify_answer = verify_calls = 0;
    pieces = run(row, &chain, 700, true, &failure);
    if (pieces != whole || verify_calls != 1 || verify_saw != (whole ? failure.status : 0) ||
        (whole != ASOCKET_TLS_CHAIN_LIMIT && verify_count != chain.count))
        ok(false, "P15: %s: a callback that agrees changes nothing", row->name);
    verify_answer = 1;
    pieces = run(row, &chain, 700, true, &failure);
    if (pieces != (whole ? whole : ASOCKET_TLS_VERIFY))
        ok(false, "P15: %s: a callback can refuse, and do nothing else", row->name);
    chain_free(&chain);
}

/* Only whether there is a way is known, not what is wrong with the others. */
static void look_at_random(const struct row *row)
{
    asocket_tls_failure failure;
    asocket_tls_reason reason;
    struct chain chain;

    if (!chain_read(row->name, &chain)) {
        ok(false, "%s can be read", row->name);
        chain_free(&chain);
        return;
    }
    reason = run(row, &chain, 700, false, &failure);
    if (!ok((reason == ASOCKET_TLS_OK) == (strcmp(row->verdict, "OK") == 0), "P15: %s: %s",
            row->name, row->verdict))
        diag("%s: %s", reasons[reason], failure.sentence);
    chain_reverse(&chain);
    if (reason == ASOCKET_TLS_OK && run(row, &chain, 0, false, &failure) != ASOCKET_TLS_OK)
        ok(false, "P15: %s the other way round", row->name);
    chain_free(&chain);
}

/* --- changed on its way ----------------------------------------------------------------------- */

/* A good chain with one bit of each of its bytes turned over, one at a time: never good. */
static void test_every_byte(const char *name)
{
    struct row row;
    struct chain chain;
    asocket_tls_failure failure;
    size_t i, at, passed = 0, tried = 0, step = test_slowness() > 1 ? 97 : 1;

    memset(&row, 0, sizeof row);
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.host, sizeof row.host, "www.example.test");
    if (!chain_read(name, &chain))
        return;
    for (i = 0; i < chain.count; i++)
        for (at = 0; at < chain.sizes[i]; at += step) {
            uint8_t *byte = (uint8_t *)(uintptr_t)chain.certificates[i] + at;
            uint8_t bit = (uint8_t)(1u << random_below(8));

            *byte ^= bit;
            tried++;
            if (run(&row, &chain, 0, false, &failure) == ASOCKET_TLS_OK && !passed++)
                diag("byte %d of certificate %d may change", (int)at, (int)i + 1);
            *byte ^= bit;
        }
    ok(tried > 1 && !passed, "P15: %s with any of %d bytes changed is refused", name, (int)tried);
    chain_free(&chain);
}

int main(int argc, char **argv)
{
    const char *name = argc < 3 ? NULL : argv[2];
    int rows = rows_each(CHAINS, name, look_at) + rows_each(RANDOM, name, look_at_random);

    ok(rows >= (name ? 1 : 400), "there were %d chains", rows);
    if (argc < 3) {
        test_every_byte("plain");
        test_every_byte("key_rsa");
    }
    return done_testing();
}
