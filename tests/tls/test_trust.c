/* Trust and names: certificates from text, files, directories and the system; names against those of
   a certificate; lengths and dates in DER; threads that share trust; memory that runs out. */
#define TAP_SECONDS 120
#include "../test.h"
#include <pthread.h>

static int allocations, fail_at; /* the how manieth fails; 0: none */
static void *scarce_malloc(size_t size);
static void *scarce_realloc(void *block, size_t size);
#define ASOCKET_MALLOC(size)         scarce_malloc(size)
#define ASOCKET_REALLOC(block, size) scarce_realloc(block, size)
#define ASOCKET_FREE(block)          free(block)
#include "private_tls.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static bool scarce(void)
{
    return fail_at && __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) == fail_at;
}

static void *scarce_malloc(size_t size)
{
    return scarce() ? NULL : malloc(size);
}

static void *scarce_realloc(void *block, size_t size)
{
    return scarce() ? NULL : realloc(block, size);
}

/* --- texts ------------------------------------------------------------------------------------ */

static char *plain, *other; /* two certificates in PEM */

static char *read_text(const char *path)
{
    size_t size;

    return (char *)read_whole(path, &size);
}

/* What adding a text answers, to an empty store; how many are in it then. */
static int add(const char *text, size_t *count, char message[160])
{
    asocket_tls_trust *trust = asocket_tls_trust_create();
    size_t size = strlen(text);
    uint8_t *copy = exactly(text, size);
    int result = asocket_tls_trust_add_pem(trust, copy, size);

    *count = asocket_tls_trust_count(trust);
    snprintf(message, 160, "%s", asocket_tls_trust_message(trust));
    free(copy);
    asocket_tls_trust_release(trust);
    return result;
}

static void good(const char *text, int expected, const char *what)
{
    size_t count;
    char message[160];
    int result = add(text, &count, message);

    if (!ok(result == expected && !message[0] && count == (size_t)expected, "P15: %s", what))
        diag("got %d, %u in it, \"%s\"", result, (unsigned)count, message);
}

static void bad(const char *text, const char *words, const char *what)
{
    size_t count;
    char message[160];
    int result = add(text, &count, message);

    if (!ok(result == ASOCKET_EINVAL && !count && strstr(message, words), "P15: %s: \"%s\"", what,
            message))
        diag("got %d, %u in it, expected \"%s\"", result, (unsigned)count, words);
}

/* A copy in which every `from` is `to`. */
static char *changed(const char *text, const char *from, const char *to)
{
    size_t size = strlen(text) * 3 + 1, length = strlen(from);
    char *out = (char *)malloc(size), *at = out;

    if (!out)
        abort();
    while (*text)
        if (strncmp(text, from, length) == 0) {
            at += snprintf(at, size - (size_t)(at - out), "%s", to);
            text += length;
        } else {
            *at++ = *text++;
        }
    *at = 0;
    return out;
}

static char *joined(const char *a, const char *b, const char *c)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *out = (char *)malloc(size);

    if (!out)
        abort();
    snprintf(out, size, "%s%s%s", a, b, c);
    return out;
}

static void test_pem(void)
{
    char *text;

    good(plain, 1, "one certificate");
    good(text = joined(plain, "# and another\n\n", other), 2, "two, with text in between");
    free(text);
    good(text = changed(plain, "\n", "\r\n"), 1, "CRLF");
    free(text);
    good(text = changed(plain, "\n", " \t\n"), 1, "blanks at the ends of lines");
    free(text);
    text = joined(plain, "", "");
    text[strlen(text) - 1] = 0;
    good(text, 1, "no newline at the end");
    free(text);
    good(text = changed(plain, " CERTIFICATE", " X509 CERTIFICATE"), 1, "the old label");
    free(text);
    text = joined("-----BEGIN PRIVATE KEY-----\nnot ours\n-----END PRIVATE KEY-----\n", plain, "");
    good(text, 1, "a key before it, whatever is in it");
    free(text);
    text = changed(other, " CERTIFICATE", " TRUSTED CERTIFICATE");
    bad(text, "no certificate", "OpenSSL's own form is not taken for a certificate");
    free(text);
    bad("", "no certificate", "an empty text");
    bad("nothing\n-----BEGIN\n-----\n", "no certificate", "no block");
    bad(text = changed(plain, "-----END", "----END"), "base64", "no end");
    free(text);
    bad(text = changed(plain, "END CERT", "END CART"), "base64", "another end");
    free(text);
    bad(text = changed(plain, "END", "END CERTIFICATE-----\n-----BEGIN"), "base64",
        "a begin without an end behind a good one: none is added");
    free(text);
    bad(text = changed(plain, "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n*"),
        "certificate 1: its base64", "a character that is none of base64's");
    free(text);
    bad("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n", "no certificate in DER",
        "base64, but no certificate");
    text = joined(plain, "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n", other);
    bad(text, "certificate 2: ", "the second of three is bad: none is added");
    free(text);
}

static void test_base64(void)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } cases[] = {{"", ""},
                 {"QUJD", "ABC"},
                 {"QUI=", "AB"},
                 {"QQ==", "A"},
                 {"QUJDREVG", "ABCDEF"},
                 {" Q U\nJ\tD\r\n", "ABC"},
                 {"QUJD\nRA==\n", "ABCD"},
                 {"Q", NULL},
                 {"QQ", NULL},
                 {"QQ=", NULL},
                 {"QUI", NULL},
                 {"QUI==", NULL},
                 {"QQ===", NULL},
                 {"====", NULL},
                 {"=", NULL},
                 {"QQ==QQ==", NULL},
                 {"Q=Q=", NULL},
                 {"QU*D", NULL},
                 {"QUJD\0", "ABC"},
                 {"QUJ-", NULL},
                 {"QUJ_", NULL},
                 {"\xC3\xA4UJD", NULL},
                 {"Q\vU\fJD", "ABC"},
                 {"++//", "\xFB\xEF\xFF"}};
    size_t i, size;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *text = exactly(cases[i].text, strlen(cases[i].text)), out[32];
        asocket__tls_span span;
        bool read;

        span.at = text;
        span.end = text + strlen(cases[i].text);
        read = asocket__tls_base64_read(span, out, &size);
        ok(read == (cases[i].bytes != NULL) &&
               (!read || (size == strlen(cases[i].bytes) && !memcmp(out, cases[i].bytes, size))),
           "P15: base64 %d: \"%s\"", (int)i, cases[i].text);
        free(text);
    }
}

/* --- stores ----------------------------------------------------------------------------------- */

static void test_store(void)
{
    asocket_tls_trust *trust = asocket_tls_trust_create(), *same;
    uint8_t *chain, *der;
    size_t size, length;

    is_int(asocket_tls_trust_count(trust), 0, "a new store is empty");
    is_str(asocket_tls_trust_message(trust), "", "and has nothing to say");
    chain = read_whole(CERTIFICATES "plain.chain", &size);
    length = (size_t)chain[2] << 8 | chain[3];
    der = exactly(chain + 4, length);
    is_int(asocket_tls_trust_add_der(trust, der, length), 1, "a certificate in DER");
    is_int(asocket_tls_trust_add_der(trust, der, length), 1, "the same again");
    is_int(asocket_tls_trust_count(trust), 1, "it is kept once");
    is_status(asocket_tls_trust_add_der(trust, der, length - 1), ASOCKET_EINVAL, "cut short");
    ok(*asocket_tls_trust_message(trust), "why: \"%s\"", asocket_tls_trust_message(trust));
    is_status(asocket_tls_trust_add_der(trust, der, 0), ASOCKET_EINVAL, "nothing in DER");
    is_status(asocket_tls_trust_add_der(trust, chain + 4, length + 1), ASOCKET_EINVAL,
              "something behind it");
    is_status(asocket_tls_trust_add_der(trust, NULL, 0), ASOCKET_EINVAL, "NULL for DER");
    is_status(asocket_tls_trust_add_pem(trust, NULL, 0), ASOCKET_EINVAL, "NULL for PEM");
    is_status(asocket_tls_trust_add_file(trust, NULL), ASOCKET_EINVAL, "NULL for a path");
    is_status(asocket_tls_trust_add_pem(NULL, plain, strlen(plain)), ASOCKET_EINVAL, "no store");
    is_status(asocket_tls_trust_add_der(NULL, der, length), ASOCKET_EINVAL, "no store for DER");
    is_status(asocket_tls_trust_add_file(NULL, "x"), ASOCKET_EINVAL, "no store for a file");
    is_status(asocket_tls_trust_add_system(NULL), ASOCKET_EINVAL, "no store for the system's");
    is_int(asocket_tls_trust_count(NULL), 0, "none in no store");
    is_str(asocket_tls_trust_message(NULL), "", "no store says nothing");
    is_int(asocket_tls_trust_add_pem(trust, other, strlen(other)), 1, "others may follow");
    is_str(asocket_tls_trust_message(trust), "", "a success says nothing");
    is_int(asocket_tls_trust_count(trust), 2, "and are counted");
    same = asocket_tls_trust_retain(trust);
    asocket_tls_trust_release(trust);
    is_int(asocket_tls_trust_count(same), 2, "it stays while it has an owner");
    asocket_tls_trust_release(same);
    asocket_tls_trust_release(NULL);
    ok(!asocket_tls_trust_retain(NULL), "NULL can be retained and released");
    free(der);
    free(chain);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    if (!file || fputs(text, file) < 0)
        abort();
    fclose(file);
}

static void test_files(void)
{
    asocket_tls_trust *trust = asocket_tls_trust_create();

    is_status(asocket_tls_trust_add_file(trust, "/no/such/file.pem"), ASOCKET_ENOTFOUND,
              "P15: a file that is not there");
    ok(strstr(asocket_tls_trust_message(trust), "/no/such/file.pem"), "is named: \"%s\"",
       asocket_tls_trust_message(trust));
    is_status(asocket_tls_trust_add_file(trust, "/dev/null"), ASOCKET_EINVAL,
              "P15: a file without a certificate");
    ok(strstr(asocket_tls_trust_message(trust), "/dev/null"), "is named: \"%s\"",
       asocket_tls_trust_message(trust));
    is_status(asocket_tls_trust_add_file(trust, "/dev/zero"), ASOCKET_EMSGSIZE,
              "P15: a file without an end is given up");
    is_status(asocket_tls_trust_add_file(trust, "/"), ASOCKET_EINVAL,
              "P15: a directory is no file");
    is_int(asocket_tls_trust_add_file(trust, CERTIFICATES "three.pem"), 3, "P15: a good file");
    is_int(asocket_tls_trust_count(trust), 3, "all of it");
    asocket_tls_trust_release(trust);
}

/* What the system's roots are with these variables set (NULL: not set). */
static int system_with(const char *file, const char *directory, size_t *count, char message[160])
{
    asocket_tls_trust *trust = asocket_tls_trust_create();
    int result;

    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    if (file)
        setenv("SSL_CERT_FILE", file, 1);
    if (directory)
        setenv("SSL_CERT_DIR", directory, 1);
    result = asocket_tls_trust_add_system(trust);
    *count = asocket_tls_trust_count(trust);
    snprintf(message, 160, "%s", asocket_tls_trust_message(trust));
    asocket_tls_trust_release(trust);
    return result;
}

/* The number that the next descriptor gets. */
static int first_free(void)
{
    int handle = open("/", O_RDONLY | O_CLOEXEC);

    close(handle);
    return handle;
}

static void test_variables(void)
{
    static const char *const directory = CERTIFICATES "directory";
    size_t count;
    char message[160], file[100], list[100];
    struct rlimit limit, few;
    int one = first_free();

    mkdir(directory, 0777);
    snprintf(file, sizeof file, "%s/one", directory);
    write_text(file, plain);
    snprintf(file, sizeof file, "%s/two", directory);
    write_text(file, other);
    snprintf(file, sizeof file, "%s/three", directory);
    write_text(file, "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
    snprintf(file, sizeof file, "%s/.hidden", directory);
    write_text(file, "not looked at");
    is_int(system_with(CERTIFICATES "three.pem", NULL, &count, message), 3,
           "P15: SSL_CERT_FILE is taken instead of the system's");
    is_str(message, "", "without complaint");
    is_int(system_with(NULL, directory, &count, message), 2,
           "P15: SSL_CERT_DIR, without what is bad in it");
    is_int(count, 2, "all of it");
    is_str(message, "", "without complaint");
    snprintf(list, sizeof list, "/no/such:%s::/nor/that", directory);
    is_int(system_with(NULL, list, &count, message), 2, "P15: SSL_CERT_DIR is a list");
    is_int(system_with(CERTIFICATES "three.pem", directory, &count, message), 5, "P15: both");
    getrlimit(RLIMIT_NOFILE, &limit);
    few = limit;
    few.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &few);
    is_status(system_with(CERTIFICATES "three.pem", directory, &count, message), ASOCKET_EMFILE,
              "P15: without a free descriptor there are no roots, not some of them");
    is_status(system_with(NULL, directory, &count, message), ASOCKET_EMFILE, "... of a directory");
    few.rlim_cur = (rlim_t)one + 1; /* enough for the directory itself */
    setrlimit(RLIMIT_NOFILE, &few);
    is_status(system_with(NULL, directory, &count, message), ASOCKET_EMFILE, "... or of its files");
    is_int(count, 0, "... none");
    setrlimit(RLIMIT_NOFILE, &limit);
    is_status(system_with("/no/such/file", NULL, &count, message), ASOCKET_ENOTFOUND,
              "P15: a variable that names nothing does not bring the system's back");
    ok(strstr(message, "SSL_CERT_FILE (/no/such/file)"), "it is named: \"%s\"", message);
    is_status(system_with(NULL, "/no/such/directory", &count, message), ASOCKET_ENOTFOUND,
              "P15: the same for directories");
    ok(strstr(message, "SSL_CERT_DIR (/no/such/directory)"), "it is named: \"%s\"", message);
}

/* The key as BearSSL's decoder sees it. */
static bool same_key(const asocket__tls_x509 *x509)
{
    br_x509_decoder_context decoder;
    const br_x509_pkey *key;

    br_x509_decoder_init(&decoder, NULL, NULL);
    br_x509_decoder_push(&decoder, x509->der.at, asocket__tls_span_size(x509->der));
    key = br_x509_decoder_get_pkey(&decoder);
    if (!key || key->key_type != x509->key.key_type)
        return false;
    if (key->key_type == BR_KEYTYPE_RSA)
        return key->key.rsa.nlen == x509->key.key.rsa.nlen &&
               !memcmp(key->key.rsa.n, x509->key.key.rsa.n, key->key.rsa.nlen) &&
               key->key.rsa.elen == x509->key.key.rsa.elen &&
               !memcmp(key->key.rsa.e, x509->key.key.rsa.e, key->key.rsa.elen);
    return key->key.ec.curve == x509->key.key.ec.curve &&
           key->key.ec.qlen == x509->key.key.ec.qlen &&
           !memcmp(key->key.ec.q, x509->key.key.ec.q, key->key.ec.qlen);
}

static void test_system(void)
{
    asocket_tls_trust *trust;
    char message[160];
    size_t count, i, same = 0, found = 0, at;
    int64_t best = INT64_MAX;
    int runs, bound = 5 * test_slowness();

    if (system_with("", "", &count, message) < 0) {
        ok(strstr(message, "SSL_CERT_FILE"), "P15: what to do without roots: \"%s\"", message);
        skip(3, "the system has no roots");
        return;
    }
    ok(count > 20, "P15: the system has %u roots", (unsigned)count);
    trust = asocket_tls_trust_create();
    asocket_tls_trust_add_system(trust);
    for (i = 0; i < count; i++) {
        asocket__tls_x509 x509, first;

        if (asocket__tls_x509_read(&x509, trust->anchors[i].der, trust->anchors[i].size))
            continue;
        same += same_key(&x509);
        at = 0;
        found += asocket__tls_trust_find(trust, x509.subject, &at, &first) &&
                 asocket__tls_trust_has(trust, &x509);
    }
    is_int(same, count, "P15: each of their keys is what BearSSL reads");
    is_int(found, count, "P15: each is found by its subject");
    asocket_tls_trust_release(trust);
    for (runs = 0; runs < 50; runs++) {
        int64_t start = test_clock(), took;

        trust = asocket_tls_trust_create();
        asocket_tls_trust_add_system(trust);
        took = test_clock() - start;
        best = took < best ? took : best;
        asocket_tls_trust_release(trust);
    }
    ok(best < bound * INT64_C(1000000), "P15: they are loaded in %.2f ms, %d at most",
       (double)best / 1e6, bound);
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_names(void)
{
    static const struct {
        const char *pattern, *host;
        bool matches;
    } cases[] = {
        {"example.test", "example.test", true},
        {"EXAMPLE.test", "example.TEST", true},
        {"example.test", "example.test.", false}, /* the dot is taken off before */
        {"example.test.", "example.test", false},
        {"example.test", "www.example.test", false},
        {"www.example.test", "example.test", false},
        {"example.test", "xexample.test", false},
        {"example.tes", "example.test", false},
        {"*.example.test", "www.example.test", true},
        {"*.EXAMPLE.test", "WWW.example.test", true},
        {"*.example.test", "xn--bcher-kva.example.test", true},
        {"*.example.test", "_dmarc.example.test", true},
        {"*.example.test", "example.test", false},
        {"*.example.test", ".example.test", false},
        {"*.example.test", "a.b.example.test", false},
        {"*.example.test", "*.example.test", false}, /* no host */
        {"*.*.test", "a.b.test", false},
        {"a.*.test", "a.b.test", false},
        {"w*.example.test", "www.example.test", false},
        {"*w.example.test", "www.example.test", false},
        {"w*w.example.test", "www.example.test", false},
        {"www.example.*", "www.example.test", false},
        {"**.example.test", "www.example.test", false},
        {"*", "localhost", false},
        {"*", "www.example.test", false},
        {"*.", "localhost.", false},
        {"*.", "localhost", false},
        {"*.test", "example.test", false},
        {"*.localhost", "a.localhost", false},
        {"*.co.uk", "example.co.uk", true}, /* no list of public suffixes here */
        {"localhost", "localhost", true},
        {"", "", false},
        {"", "example.test", false},
        {".example.test", "www.example.test", false},
        {".example.test", ".example.test", false},
        {"a..test", "a..test", false},
        {"example.test", "", false},
        {"-a.test", "-a.test", true},
        {"a_b.test", "a_b.test", true},
        {"b\xC3\xBC"
         "cher.test",
         "b\xC3\xBC"
         "cher.test",
         false}, /* only as xn-- */
        {"a b.test", "a b.test", false},
        {"1.test", "1.test", true},
        {"azAZ09-_.tez", "AZaz09-_.TEZ", true},
        {"a.test", "a.tes4", false},
        {"a`.test", "a@.test", false},
        {"127.1", "127.1", false},
        {"1.2.3", "1.2.3", false},
        {"*.2.3", "1.2.3", false},
        {"127.0.0.1", "127.0.0.1", false},
        {"*.0.0.1", "127.0.0.1", false},
        {"::1", "::1", false},
        {"[::1]", "[::1]", false},
        {"[::1]", "::1", false},
    };
    char label[130];
    uint8_t list[200];
    asocket__tls_span span;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].pattern);
        bool matches;

        list[0] = 0x82;
        list[1] = (uint8_t)size;
        memcpy(list + 2, cases[i].pattern, size);
        span.at = exactly(list, size + 2);
        span.end = span.at + size + 2;
        matches = asocket__tls_name_matches(span, cases[i].host);
        ok(matches == cases[i].matches, "P15: \"%s\" is%s for %s", cases[i].pattern,
           cases[i].matches ? "" : " not", cases[i].host);
        free((void *)(uintptr_t)span.at);
    }
    memset(label, 'a', sizeof label);
    memcpy(label + 63, ".test", 6);
    ok(asocket__tls_name_is_valid(label), "P15: a label of 63 characters");
    memcpy(label + 64, ".test", 6);
    ok(!asocket__tls_name_is_valid(label), "P15: none of 64");
}

static void test_long_name(void)
{
    char name[300];
    size_t i;

    for (i = 0; i < sizeof name; i++)
        name[i] = i % 50 == 49 ? '.' : 'a';
    name[253] = 0;
    ok(asocket__tls_name_is_valid(name), "P15: a name of 253 characters");
    name[253] = 'a';
    name[254] = 0;
    ok(!asocket__tls_name_is_valid(name), "P15: none of 254");
}

static void test_addresses(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *host;
        bool matches;
    } cases[] = {
        {"\x7F\0\0\1", 4, "127.0.0.1", true},
        {"\x7F\0\0\1", 4, "127.0.0.2", false},
        {"\x7F\0\0\1", 4, "localhost", false},
        {"\x7F\0\0", 3, "127.0.0.1", false},
        {"\x7F\0\0\1\0", 5, "127.0.0.1", false},
        {"\x7F\0\0\0\xFF\0\0\0", 8, "127.0.0.0", false},
        {"", 0, "127.0.0.1", false},
        {"127.0.0.1", 9, "127.0.0.1", false},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, "::1", true},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, "0:0:0:0:0:0:0:1", true},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, "::2", false},
        {"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x7F\0\0\1", 16, "127.0.0.1", false},
        {"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x7F\0\0\1", 16, "::ffff:127.0.0.1", true},
        {"\x7F\0\0\1", 4, "::ffff:127.0.0.1", false},
        {"\xFE\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, "fe80::1%1", true}, /* a zone is ours */
    };
    uint8_t list[40];
    asocket__tls_span span;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        list[0] = 0x87;
        list[1] = (uint8_t)cases[i].size;
        memcpy(list + 2, cases[i].bytes, cases[i].size);
        span.at = exactly(list, cases[i].size + 2);
        span.end = span.at + cases[i].size + 2;
        ok(asocket__tls_name_matches(span, cases[i].host) == cases[i].matches,
           "P15: %d bytes of an address are%s %s", (int)cases[i].size,
           cases[i].matches ? "" : " not", cases[i].host);
        free((void *)(uintptr_t)span.at);
    }
}

/* --- DER -------------------------------------------------------------------------------------- */

static void test_elements(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        long content; /* -1: refused */
        const char *what;
    } cases[] = {
        {"\x04\0", 2, 0, "nothing in it"},
        {"\x04\2AB", 4, 2, "two bytes"},
        {"\x04\2ABC", 5, 2, "two bytes, and more behind"},
        {"\x04\2A", 3, -1, "one byte missing"},
        {"\x04", 1, -1, "no length"},
        {"", 0, -1, "no element"},
        {"\x04\x80\0\0", 4, -1, "an indefinite length"},
        {"\x04\x81\1A", 4, -1, "a length that is longer than it need be"},
        {"\x04\x81\x7F", 3, -1, "the same, at its end"},
        {"\x04\x82\0\x80", 4, -1, "a length that begins with a zero"},
        {"\x04\x81", 2, -1, "half a length"},
        {"\x04\x84\xFF\xFF\xFF\xFF", 6, -1, "4 GiB"},
        {"\x04\x85\1\0\0\0\0", 7, -1, "a length of five bytes"},
        {"\x04\xFF\1", 3, -1, "a length of 127 bytes"},
        {"\x1F\x81\1A", 4, -1, "a tag of two bytes"},
    };
    static const uint8_t wraps[11 + 128] = {4, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0x80};
    asocket__tls_span span, content;
    uint8_t tag;
    size_t i;

    span.at = wraps;
    span.end = wraps + sizeof wraps;
    ok(!asocket__tls_der_next(&span, &tag, &content), "P15: DER: a length beyond 64 bits");
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *copy = exactly(cases[i].bytes, cases[i].size);
        bool taken;

        span.at = copy;
        span.end = copy + cases[i].size;
        taken = asocket__tls_der_next(&span, &tag, &content);
        ok(taken
               ? tag == 4 && content.end - content.at == cases[i].content && span.at == content.end
               : cases[i].content < 0 && span.at == copy,
           "P15: DER: %s", cases[i].what);
        free(copy);
    }
}

#define REFUSED INT64_MIN

static void test_dates(void)
{
    static const struct {
        const char *text;
        int64_t seconds; /* REFUSED */
    } cases[] = {
        {"700101000000Z", 0},
        {"700101000001Z", 1},
        {"991231235959Z", 946684799},
        {"000101000000Z", 946684800},
        {"000229000000Z", 951782400},
        {"491231235959Z", 2524607999},
        {"20500101000000Z", 2524608000},
        {"99991231235959Z", 253402300799},
        {"21000228235959Z", 4107542399},
        {"260615120000Z", 1781524800},
        {"21000229000000Z", REFUSED},
        {"210229000000Z", REFUSED},
        {"260631000000Z", REFUSED},
        {"260600000000Z", REFUSED},
        {"260001000000Z", REFUSED},
        {"261301000000Z", REFUSED},
        {"260615240000Z", REFUSED},
        {"260615126000Z", REFUSED},
        {"260615120060Z", REFUSED},
        {"2606151200Z", REFUSED},
        {"260615120000", REFUSED},
        {"2606151200000", REFUSED},
        {"260615120000+0000", REFUSED},
        {"20260615120000.5Z", REFUSED},
        {"2606151 0000Z", REFUSED},
        {"-60615120000Z", REFUSED},
        {"26061512000:Z", REFUSED},
        {"2606151200:0Z", REFUSED},
        {"260615 20000Z", REFUSED},
        {"500101000000Z", -631152000},
        {"", REFUSED},
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].text);
        uint8_t bytes[40], *copy;
        asocket__tls_span span;
        int64_t seconds = REFUSED;

        bytes[0] = size >= 15 ? 0x18 : 0x17; /* each with its own length only */
        bytes[1] = (uint8_t)size;
        memcpy(bytes + 2, cases[i].text, size);
        copy = exactly(bytes, size + 2);
        span.at = copy;
        span.end = copy + size + 2;
        ok(asocket__tls_der_date(&span, &seconds) == (cases[i].seconds != REFUSED) &&
               seconds == cases[i].seconds,
           "P15: the date \"%s\"", cases[i].text);
        copy[0] ^= 0x18 ^ 0x17;
        span.at = copy;
        ok(!asocket__tls_der_date(&span, &seconds), "P15: \"%s\" under the other tag",
           cases[i].text);
        free(copy);
    }
}

static void test_printed_dates(void)
{
    static const int64_t moments[] = {0,          -1,         -86400,       951782399,
                                      951782400,  1781524800, 253402300799, -2208988800,
                                      4107542399, 4107542400, 1781524800000};
    char date[40], expected[40];
    int64_t start;
    size_t i;

    for (i = 0; i < sizeof moments / sizeof *moments; i++) {
        time_t moment = (time_t)moments[i];
        struct tm parts;

        gmtime_r(&moment, &parts);
        strftime(expected, sizeof expected, "%Y-%m-%d %H:%M:%S UTC", &parts);
        asocket__tls_print_date(date, moments[i]);
        is_str(date, expected, "P15: %lld seconds in words", (long long)moments[i]);
    }
    start = test_clock();
    asocket__tls_print_date(date, INT64_MAX);
    ok(test_took(start, 0, 100), "P11: a clock that is absurd is told as soon");
}

/* --- a chain through the validator, for what follows ------------------------------------------ */

static int agree(void *user, const asocket_tls_peer *peer)
{
    (void)user, (void)peer;
    return 0;
}

static asocket_tls_reason validate(asocket_tls_trust *trust, const char *name, const uint8_t *chain,
                                   size_t size)
{
    asocket__tls_validator validator;
    asocket__tls_check check;
    asocket_tls_failure failure;
    const br_x509_class **engine = &validator.vtable;
    unsigned error;
    size_t at, length;

    memset(&failure, 0, sizeof failure);
    memset(&check, 0, sizeof check);
    check.server_name = name;
    check.trust = trust;
    check.verify = agree;
    check.chain_certificates = 10;
    check.chain_bytes = 65536;
    asocket__tls_validator_init(&validator, &check, &failure);
    (*engine)->start_chain(engine, NULL);
    for (at = 0; at + 4 < size; at += length) {
        length = (size_t)chain[at + 2] << 8 | chain[at + 3];
        (*engine)->start_cert(engine, (uint32_t)length);
        (*engine)->append(engine, chain + (at += 4), length);
        (*engine)->end_cert(engine);
    }
    error = (*engine)->end_chain(engine);
    if ((error == 0) != (failure.reason == ASOCKET_TLS_OK) ||
        ((*engine)->get_pkey(engine, NULL) != NULL) != (error == 0))
        failure.reason = ASOCKET__TLS_REASON_COUNT;
    asocket__tls_validator_free(&validator);
    return failure.reason;
}

static void test_scarcity(void)
{
    size_t size;
    uint8_t *chain = read_whole(CERTIFICATES "plain.chain", &size);
    char *root = read_text(CERTIFICATES "plain.trust.pem");
    asocket_tls_trust *trust;
    int wrong = 0, at, ended = 0, stores = 0;

    for (at = 1; at < 100 && !ended; at++) {
        allocations = 0;
        fail_at = at;
        trust = asocket_tls_trust_create();
        if (trust) {
            int files = asocket_tls_trust_add_file(trust, CERTIFICATES "three.pem");
            int texts = asocket_tls_trust_add_pem(trust, root, strlen(root));

            wrong += (files != 3 && files != ASOCKET_ENOMEM) || (texts != 1 && texts >= 0);
            wrong +=
                asocket_tls_trust_count(trust) != (files > 0 ? 3u : 0u) + (texts > 0 ? 1u : 0u);
            wrong += files < 0 && texts < 0;
            files = asocket_tls_trust_add_der(trust, chain + 4, 256u * chain[2] + chain[3]);
            wrong += files != 1 && files != ASOCKET_ENOMEM;
        }
        ended = allocations < at;
        stores++;
        asocket_tls_trust_release(trust);
    }
    ok(!wrong && ended && stores > 3, "P15: %d times no memory for trust: nothing half", stores);
    fail_at = 0;
    trust = asocket_tls_trust_create();
    asocket_tls_trust_add_pem(trust, root, strlen(root));
    for (at = 1, wrong = ended = stores = 0; at < 100 && !ended; at++) {
        asocket_tls_reason reason;

        allocations = 0;
        fail_at = at;
        reason = validate(trust, "www.example.test", chain, size);
        ended = allocations < at;
        wrong += reason != (ended ? ASOCKET_TLS_OK : ASOCKET_TLS_NO_MEMORY);
        stores++;
    }
    fail_at = 0;
    ok(!wrong && ended && stores > 3, "P15: %d times no memory for a chain: it is refused", stores);
    is_int(validate(trust, NULL, chain, size), ASOCKET_TLS_NO_NAME, "P15: no name to verify");
    is_int(validate(NULL, "www.example.test", chain, size), ASOCKET_TLS_NO_NAME,
           "P15: no trust to verify with");
    asocket_tls_trust_release(trust);
    free(root);
    free(chain);
}

/* --- threads ---------------------------------------------------------------------------------- */

typedef struct worker {
    pthread_t thread;
    asocket_tls_trust *trust;
    const uint8_t *chain;
    size_t size;
    int good;
} worker;

static void *work(void *argument)
{
    worker *self = (worker *)argument;
    int i;

    for (i = 0; i < 10; i++) {
        asocket_tls_trust *mine = asocket_tls_trust_retain(self->trust);

        self->good += validate(mine, "www.example.test", self->chain, self->size) == ASOCKET_TLS_OK;
        asocket_tls_trust_release(mine);
    }
    asocket_tls_trust_release(self->trust);
    return NULL;
}

static void test_threads(void)
{
    worker workers[4];
    size_t size, i;
    uint8_t *chain = read_whole(CERTIFICATES "plain.chain", &size);
    asocket_tls_trust *trust = asocket_tls_trust_create();
    int good_ones = 0;

    asocket_tls_trust_add_file(trust, CERTIFICATES "plain.trust.pem");
    for (i = 0; i < 4; i++) {
        workers[i].trust = asocket_tls_trust_retain(trust);
        workers[i].chain = chain;
        workers[i].size = size;
        workers[i].good = 0;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
            abort();
    }
    asocket_tls_trust_release(trust); /* the last of them frees it */
    for (i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        good_ones += workers[i].good;
    }
    is_int(good_ones, 40, "P15: four threads share the same trust");
    free(chain);
}

int main(void)
{
    plain = read_text(CERTIFICATES "root_only.pem");
    other = read_text(CERTIFICATES "root_only.trust.pem");
    if (!plain || !other)
        skip_all("the certificates are not made, or it runs elsewhere");
    test_pem();
    test_base64();
    test_store();
    test_files();
    test_variables();
    test_system();
    test_names();
    test_long_name();
    test_addresses();
    test_elements();
    test_dates();
    test_printed_dates();
    test_scarcity();
    test_threads();
    free(plain);
    free(other);
    return done_testing();
}
