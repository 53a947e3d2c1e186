/* Addresses: what is read, how it is printed, what is equal, and what an address is said to be.
   Pure: no selector, no system call but for the index of a zone's interface. */
#include "test.h"

#include <net/if.h>
#include <stddef.h>
#include <sys/un.h>

/* --- the tables ------------------------------------------------------------------------------- */

typedef struct row {
    char input[256], kind[16], canonical[128];
} row;

/* Splits a line on its tabs; the input may hold blanks, and be empty. */
static bool row_read(FILE *file, row *out)
{
    char line[1024], *at = line, *field[3];
    int i;

    if (!fgets(line, sizeof line, file))
        return false;
    for (i = 0; i < 3; i++) {
        field[i] = at;
        at += strcspn(at, "\t\n");
        if (*at)
            *at++ = '\0';
    }
    snprintf(out->input, sizeof out->input, "%.255s", field[0]);
    snprintf(out->kind, sizeof out->kind, "%.15s", field[1]);
    snprintf(out->canonical, sizeof out->canonical, "%.127s", field[2]);
    return true;
}

static const char *kind_of(const asocket_ip *ip)
{
    return ip->family == 4 ? "ipv4" : ip->family != 6 ? "none" : ip->zone[0] ? "ipv6zone" : "ipv6";
}

/* One row: the verdict, the kind, the canonical text, and that this text reads as the same. */
static void check_ip(const row *expected)
{
    bool invalid = strcmp(expected->kind, "invalid") == 0;
    asocket_ip ip, again;
    char text[64] = "";
    int status = asocket_ip_parse(&ip, expected->input);

    if (invalid) {
        is_status(status, ASOCKET_EINVAL, "\"%s\" is no IP address", expected->input);
        return;
    }
    ok(status == ASOCKET_OK && strcmp(kind_of(&ip), expected->kind) == 0 &&
           asocket_ip_format(&ip, text, sizeof text) == (int)strlen(expected->canonical) &&
           strcmp(text, expected->canonical) == 0 && asocket_ip_parse(&again, text) == ASOCKET_OK &&
           asocket_ip_equal(&ip, &again),
       "\"%s\" is %s %s (printed: %s)", expected->input, expected->kind, expected->canonical, text);
}

static void check_endpoint(const row *expected)
{
    bool invalid = strcmp(expected->kind, "invalid") == 0;
    asocket_address address, again;
    char text[160] = "";
    int status = asocket_address_parse(&address, expected->input);

    if (invalid) {
        is_status(status, ASOCKET_EINVAL, "\"%s\" is no address with a port", expected->input);
        return;
    }
    ok(status == ASOCKET_OK && strcmp(kind_of(&address.ip), expected->kind) == 0 &&
           asocket_address_format(&address, text, sizeof text) ==
               (int)strlen(expected->canonical) &&
           strcmp(text, expected->canonical) == 0 &&
           asocket_address_parse(&again, text) == ASOCKET_OK &&
           asocket_address_equal(&address, &again),
       "\"%s\" is %s (printed: %s)", expected->input, expected->canonical, text);
}

static void check_table(const char *name, void (*check)(const row *))
{
    const char *here = __FILE__, *slash = strrchr(here, '/');
    char path[512];
    row expected;
    FILE *file;
    int count = 0;

    snprintf(path, sizeof path, "%.*s/%s", slash ? (int)(slash - here) : 1, slash ? here : ".",
             name);
    file = fopen(path, "r");
    if (!file) {
        ok(false, "%s can be opened", path);
        return;
    }
    row_read(file, &expected); /* the heading */
    for (; row_read(file, &expected); count++)
        check(&expected);
    ok(count >= 60, "%s: %d rows", name, count);
    fclose(file);
}

/* --- helpers ---------------------------------------------------------------------------------- */

static asocket_ip ip_of(const char *text)
{
    asocket_ip ip;

    memset(&ip, 0, sizeof ip);
    if (asocket_ip_parse(&ip, text) < 0)
        ok(false, "\"%s\" can be read", text);
    return ip;
}

static asocket_address address_of(const char *text)
{
    asocket_address address;

    memset(&address, 0, sizeof address);
    if (asocket_address_parse(&address, text) < 0)
        ok(false, "\"%s\" can be read", text);
    return address;
}

static bool prints(const asocket_ip *ip, const char *expected)
{
    char text[64] = "";

    asocket_ip_format(ip, text, sizeof text);
    if (strcmp(text, expected) == 0)
        return true;
    diag("printed \"%s\", expected \"%s\"", text, expected);
    return false;
}

/* --- making ----------------------------------------------------------------------------------- */

static void test_constructors(void)
{
    static const unsigned char four[] = {192, 0, 2, 33};
    static const unsigned char sixteen[] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    asocket_ip ip = asocket_ipv4(127, 0, 0, 1);
    asocket_address address;
    size_t size;

    ok(ip.family == 4 && prints(&ip, "127.0.0.1"), "asocket_ipv4 takes the four numbers in order");
    ok(asocket_ip_equal(&ip, &ip), "an address equals itself");
    ip = asocket_ipv6(0x2001, 0xdb8, 3, 4, 5, 6, 7, 0xffff);
    ok(ip.family == 6 && prints(&ip, "2001:db8:3:4:5:6:7:ffff"),
       "asocket_ipv6 takes the eight groups in order");
    ip = asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1);
    ok(prints(&ip, "::1"), "asocket_ipv6 makes ::1");

    is_status(asocket_ip_from_bytes(&ip, four, 4), ASOCKET_OK, "four bytes are an IPv4 address");
    ok(prints(&ip, "192.0.2.33"), "its bytes are in network order");
    is_status(asocket_ip_from_bytes(&ip, sixteen, 16), ASOCKET_OK,
              "sixteen bytes are an IPv6 address");
    ok(prints(&ip, "2001:db8::1"), "its bytes are in network order, and it has no zone");
    for (size = 0; size <= 17; size++)
        if (size != 4 && size != 16)
            is_status(asocket_ip_from_bytes(&ip, sixteen, size), ASOCKET_EINVAL,
                      "%d bytes are no address", (int)size);

    address = asocket_address_of(asocket_ipv4(1, 2, 3, 4), 80);
    ok(address.port == 80 && address.path_length == 0 && prints(&address.ip, "1.2.3.4"),
       "asocket_address_of joins an address and a port");
    address = asocket_address_of(ip_of("fe80::1%eth0"), 65535);
    ok(address.port == 65535 && prints(&address.ip, "fe80::1%eth0"),
       "asocket_address_of keeps the zone");
}

static void test_wrong_arguments(void)
{
    asocket_ip ip = asocket_ipv4(1, 2, 3, 4);
    asocket_address address = asocket_address_of(ip, 80);
    char text[64];

    is_status(asocket_ip_parse(NULL, "1.2.3.4"), ASOCKET_EINVAL, "parse an IP into NULL");
    is_status(asocket_ip_parse(&ip, NULL), ASOCKET_EINVAL, "parse an IP from NULL");
    is_status(asocket_ip_from_bytes(NULL, "abcd", 4), ASOCKET_EINVAL, "bytes into NULL");
    is_status(asocket_ip_from_bytes(&ip, NULL, 4), ASOCKET_EINVAL, "bytes from NULL");
    is_status(asocket_ip_format(NULL, text, sizeof text), ASOCKET_EINVAL, "format NULL");
    is_status(asocket_ip_format(&ip, NULL, 64), ASOCKET_EINVAL, "format an IP into NULL");
    is_status(asocket_address_parse(NULL, "1.2.3.4:5"), ASOCKET_EINVAL, "parse into NULL");
    is_status(asocket_address_parse(&address, NULL), ASOCKET_EINVAL, "parse from NULL");
    is_status(asocket_address_format(NULL, text, sizeof text), ASOCKET_EINVAL, "format NULL");
    is_status(asocket_address_format(&address, NULL, 64), ASOCKET_EINVAL, "format into NULL");
    ok(!asocket_ip_equal(NULL, &ip) && !asocket_ip_equal(&ip, NULL), "NULL equals no IP");
    ok(!asocket_address_equal(NULL, &address) && !asocket_address_equal(&address, NULL),
       "NULL equals no address");
    ok(!asocket_ip_is_ipv4(NULL) && !asocket_ip_is_loopback(NULL) &&
           !asocket_ip_is_multicast(NULL) && !asocket_ip_is_private(NULL) &&
           !asocket_ip_is_link_local(NULL) && !asocket_ip_is_unspecified(NULL) &&
           !asocket_ip_is_documentation(NULL) && !asocket_ip_is_broadcast(NULL) &&
           !asocket_ip_is_ipv4_mapped(NULL) && !asocket_ip_is_ipv4_compatible(NULL),
       "NULL is of no kind");
}

/* An address that could not be read must not look like one. */
static void test_refused_leaves_none(void)
{
    static const char *const refused[] = {"", "1.2.3", "::1::", "fe80::1%", "1.2.3.4.5", "x"};
    size_t i;

    for (i = 0; i < sizeof refused / sizeof *refused; i++) {
        asocket_ip ip = asocket_ipv4(9, 9, 9, 9);

        asocket_ip_parse(&ip, refused[i]);
        ok(ip.family == 0 || prints(&ip, "9.9.9.9"),
           "\"%s\", refused, leaves what was there or none", refused[i]);
    }
}

/* --- printing --------------------------------------------------------------------------------- */

typedef int format_function(const void *value, char *buffer, size_t size);

static int format_ip(const void *value, char *buffer, size_t size)
{
    return asocket_ip_format((const asocket_ip *)value, buffer, size);
}

static int format_address(const void *value, char *buffer, size_t size)
{
    return asocket_address_format((const asocket_address *)value, buffer, size);
}

/* Into a buffer of every size: all of it, or EMSGSIZE; never a byte beyond. */
static void check_short_buffers(format_function *format, const void *value, const char *expected)
{
    size_t length = strlen(expected), size, i;
    bool right = true, inside = true;

    for (size = 0; size <= length + 3; size++) {
        char text[200];
        int status;

        memset(text, '#', sizeof text);
        status = format(value, text, size);
        right = right && (size > length ? status == (int)length && strcmp(text, expected) == 0
                                        : status == ASOCKET_EMSGSIZE);
        for (i = size; i < sizeof text; i++)
            inside = inside && text[i] == '#';
    }
    ok(right, "\"%s\" fits in %d bytes and more, fewer are EMSGSIZE", expected, (int)length + 1);
    ok(inside, "\"%s\" is never written beyond its buffer", expected);
}

static void test_short_buffers(void)
{
    static const char *const ips[] = {
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "1:2:3:4:5:6:7:8",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "::ffff:255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%123456789012345",
    };
    static const char *const addresses[] = {
        "1.2.3.4:0", "255.255.255.255:65535", "[::]:80", "[fe80::1%eth0]:443", "unix:/a/path",
    };
    size_t i;

    for (i = 0; i < sizeof ips / sizeof *ips; i++) {
        asocket_ip ip = ip_of(ips[i]);

        check_short_buffers(format_ip, &ip, ips[i]);
    }
    for (i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        asocket_address address = address_of(addresses[i]);

        check_short_buffers(format_address, &address, addresses[i]);
    }
}

/* Every place and length of a run of zero groups, against RFC 5952 written down once more. */
static void format_by_rfc5952(const uint16_t *group, char *text)
{
    int best = -1, longest = 1, start, end, i;

    for (start = 0; start < 8; start = end + 1) {
        for (end = start; end < 8 && group[end] == 0; end++)
            continue;
        if (end - start > longest) {
            longest = end - start;
            best = start;
        }
    }
    *text = '\0';
    for (i = 0; i < 8; i++)
        if (i == best) {
            strcat(text, "::");
            i += longest - 1;
        } else {
            sprintf(text + strlen(text), i == 0 || i == best + longest ? "%x" : ":%x", group[i]);
        }
}

static void test_zero_runs(void)
{
    int mask, wrong = 0;

    for (mask = 0; mask < 256; mask++) {
        uint16_t g[8];
        char expected[64];
        asocket_ip ip;
        int i;

        for (i = 0; i < 8; i++)
            g[i] = (uint16_t)(mask & (1 << i) ? 0x1a << i : 0);
        if (!g[0] && !g[1] && !g[2] && !g[3] && !g[4] && g[5] == 0xffff)
            continue;
        format_by_rfc5952(g, expected);
        ip = asocket_ipv6(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7]);
        wrong += !prints(&ip, expected);
    }
    is_int(wrong, 0, "every pattern of zero groups is printed as RFC 5952 says");
}

/* --- zones ------------------------------------------------------------------------------------ */

/* Filled by hand to the last byte: nothing reads on behind it. */
static void check_endless(void)
{
    asocket_address address = address_of("[fe80::1]:80");
    struct sockaddr_in6 native;
    asocket_ip ip, same;
    char text[160];

    memset(address.ip.zone, 'x', sizeof address.ip.zone);
    ip = same = address.ip;
    ok(asocket_ip_equal(&ip, &same), "a zone without an end is compared");
    is_status(asocket_ip_format(&ip, text, sizeof text), ASOCKET_EINVAL, "it is not printed");
    is_status(asocket_address_format(&address, text, sizeof text), ASOCKET_EINVAL,
              "nor in an address");
    is_status(asocket_address_to_native(&address, &native, sizeof native), ASOCKET_EINVAL,
              "nor given to the system");
    memset(&address, 0, sizeof address);
    address.path_length = UINT16_MAX;
    ok(!asocket_address_equal(&address, &address), "a path longer than paths are equals none");
}

static void test_zones(void)
{
    asocket_ip ip, other;
    asocket_address address;
    char native[256];

    check_endless();
    is_status(asocket_ip_parse(&ip, "fe80::1%123456789012345"), ASOCKET_OK,
              "a zone of 15 bytes is kept");
    is_str(ip.zone, "123456789012345", "and kept whole");
    is_status(asocket_ip_parse(&ip, "fe80::1%1234567890123456"), ASOCKET_EINVAL,
              "a zone of 16 bytes is refused");
    is_status(asocket_ip_parse(&ip, "fe80::1%a.b_c~d-E9"), ASOCKET_OK,
              "a zone may hold A-Za-z0-9._~-");
    is_status(asocket_ip_parse(&ip, "fe80::1%a b"), ASOCKET_EINVAL, "a zone holds no blank");
    is_status(asocket_ip_parse(&ip, "fe80::1%a/b"), ASOCKET_EINVAL, "a zone holds no slash");
    is_status(asocket_ip_parse(&ip, "1.2.3.4%eth0"), ASOCKET_EINVAL, "IPv4 has no zones");

    ip = ip_of("fe80::1%eth0");
    other = ip_of("fe80::1%eth0");
    ok(asocket_ip_equal(&ip, &other), "the same address in the same zone is equal");
    other = ip_of("fe80::1%eth1");
    ok(!asocket_ip_equal(&ip, &other), "in another zone it is not");
    other = ip_of("fe80::1");
    ok(!asocket_ip_equal(&ip, &other), "nor without a zone");

    address = asocket_address_of(ip_of("fe80::1%4294967297"), 1); /* 2^32 + 1 */
    is_status(asocket_address_to_native(&address, native, sizeof native), ASOCKET_EADDRNOTAVAIL,
              "a zone's number is not cut to 32 bits");
}

/* --- equality --------------------------------------------------------------------------------- */

static bool same_address(const char *a, const char *b)
{
    asocket_address left = address_of(a), right = address_of(b);

    return asocket_address_equal(&left, &right) && asocket_address_equal(&right, &left);
}

static void test_equality(void)
{
    asocket_ip four = ip_of("1.2.3.4"), mapped = ip_of("::ffff:1.2.3.4");
    asocket_ip noisy;

    ok(!asocket_ip_equal(&four, &mapped), "an IPv4 address differs from its mapped form");
    ok(same_address("1.2.3.4:80", "1.2.3.4:80"), "same address, same port: equal");
    ok(!same_address("1.2.3.4:80", "1.2.3.4:81"), "same address, other port: different");
    ok(!same_address("1.2.3.4:80", "1.2.3.5:80"), "other address, same port: different");
    ok(same_address("[::0:1]:80", "[0::1]:80"), "two spellings of one address are equal");
    ok(same_address("unix:/tmp/a", "unix:/tmp/a"), "the same path is equal");
    ok(!same_address("unix:/tmp/a", "unix:/tmp/b"), "another path is different");
    ok(!same_address("unix:/tmp/a", "unix:/tmp/ab"), "a longer path is different");
    ok(!same_address("unix:@a", "unix:a"), "an abstract name is no path");
    ok(!same_address("unix:/tmp/a", "1.2.3.4:80"), "a path is no IP address");

    memset(&noisy, 0xff, sizeof noisy);
    noisy.family = 4;
    memcpy(noisy.bytes, four.bytes, 4);
    noisy.zone[0] = '\0';
    ok(asocket_ip_equal(&four, &noisy), "the bytes beyond an IPv4 address do not count");
}

/* --- what an address is ----------------------------------------------------------------------- */

typedef struct predicate {
    const char *name;
    bool (*holds)(const asocket_ip *ip);
    const char *yes[8], *no[8]; /* the edges of each range, and just outside */
} predicate;

static const predicate predicates[] = {
    {"IPv4",
     asocket_ip_is_ipv4,
     {"0.0.0.0", "255.255.255.255", NULL},
     {"::", "::ffff:1.2.3.4", "::1.2.3.4", NULL}},
    {"loopback",
     asocket_ip_is_loopback,
     {"127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", NULL},
     {"126.255.255.255", "128.0.0.0", "::", "::2", "1::1", NULL}},
    {"multicast",
     asocket_ip_is_multicast,
     {"224.0.0.0", "239.255.255.255", "ff00::", "ff02::1", "ffff::", NULL},
     {"223.255.255.255", "240.0.0.0", "feff::", "::ff", "::", NULL}},
    {"private",
     asocket_ip_is_private,
     {"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
      "192.168.255.255", "fc00::", "fdff:ffff::"},
     {"9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
      "fbff::", "fe00::"}},
    {"link-local",
     asocket_ip_is_link_local,
     {"169.254.0.0", "169.254.255.255", "fe80::", "fe80::1%eth0", "febf:ffff::", NULL},
     {"169.253.255.255", "169.255.0.0", "fe7f::", "fec0::", "ff02::1", NULL}},
    {"unspecified",
     asocket_ip_is_unspecified,
     {"0.0.0.0", "::", NULL},
     {"0.0.0.1", "1.0.0.0", "::1", "1::", "::ffff:0.0.0.1", NULL}},
    {"documentation",
     asocket_ip_is_documentation,
     {"192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255",
      "2001:db8::", "2001:db8:ffff::ffff"},
     {"192.0.1.255", "192.0.3.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
      "2001:db7:ffff::", "2001:db9::"}},
    {"broadcast",
     asocket_ip_is_broadcast,
     {"255.255.255.255", NULL},
     {"255.255.255.254", "254.255.255.255", "0.0.0.0", "ffff:ffff::", NULL}},
    {"IPv4-mapped",
     asocket_ip_is_ipv4_mapped,
     {"::ffff:0.0.0.0", "::ffff:1.2.3.4", "::ffff:255.255.255.255", NULL},
     {"1.2.3.4", "::1.2.3.4", "::fffe:1.2.3.4", "1::ffff:1.2.3.4", "::ffff:0:1.2.3.4", NULL}},
    {"IPv4-compatible",
     asocket_ip_is_ipv4_compatible,
     {"::1.2.3.4", "::255.255.255.255", "::0.1.0.0", NULL},
     {"1.2.3.4", "::ffff:1.2.3.4", "1::1.2.3.4", "::1:1.2.3.4", NULL}},
};

static void test_predicates(void)
{
    asocket_ip none;
    size_t i, n;

    memset(&none, 0, sizeof none);
    for (i = 0; i < sizeof predicates / sizeof *predicates; i++) {
        const predicate *p = &predicates[i];

        for (n = 0; n < 8 && p->yes[n]; n++) {
            asocket_ip ip = ip_of(p->yes[n]);

            ok(p->holds(&ip), "%s is %s", p->yes[n], p->name);
        }
        for (n = 0; n < 8 && p->no[n]; n++) {
            asocket_ip ip = ip_of(p->no[n]);

            ok(!p->holds(&ip), "%s is not %s", p->no[n], p->name);
        }
        ok(!p->holds(&none), "no address at all is not %s", p->name);
    }
}

static void test_mapped(void)
{
    asocket_ip four = ip_of("1.2.3.4"), six = ip_of("2001:db8::1"), ip;

    ip = asocket_ip_to_mapped(&four);
    ok(prints(&ip, "::ffff:1.2.3.4") && asocket_ip_is_ipv4_mapped(&ip),
       "1.2.3.4 is mapped to ::ffff:1.2.3.4");
    ip = asocket_ip_to_compatible(&four);
    ok(prints(&ip, "::102:304") && asocket_ip_is_ipv4_compatible(&ip),
       "1.2.3.4 is compatible with ::102:304");
    ip = asocket_ip_to_mapped(&six);
    ok(asocket_ip_equal(&ip, &six), "mapping an IPv6 address leaves it as it is");
    ip = asocket_ip_to_compatible(&six);
    ok(asocket_ip_equal(&ip, &six), "so does making it compatible");
}

/* --- Unix paths ------------------------------------------------------------------------------- */

static bool reads_and_prints(const char *text)
{
    asocket_address address;
    char printed[160] = "";

    if (asocket_address_parse(&address, text) != ASOCKET_OK)
        return false;
    asocket_address_format(&address, printed, sizeof printed);
    return address.ip.family == 0 && address.port == 0 && address.path_length > 0 &&
           strcmp(printed, text) == 0;
}

static void test_paths(void)
{
    char text[200] = "unix:/";
    asocket_address address;

    ok(reads_and_prints("unix:/tmp/a.sock"), "unix:/tmp/a.sock is a path");
    ok(reads_and_prints("unix:relative"), "unix:relative is a path");
    ok(reads_and_prints("unix:/a b:1"), "a path may hold blanks and colons");
    ok(reads_and_prints("unix:@name"), "unix:@name is an abstract name");
    is_status(asocket_address_parse(&address, "unix:"), ASOCKET_EINVAL, "an empty path is refused");
    is_status(asocket_address_parse(&address, "unix"), ASOCKET_EINVAL, "so is \"unix\" alone");
    is_status(asocket_address_parse(&address, "/tmp/a.sock"), ASOCKET_EINVAL,
              "and a path without unix:");

    memset(text + 5, 'a', 107);
    text[5 + 107] = '\0';
    ok(reads_and_prints(text), "a path of 107 bytes is kept");
    memset(text + 5, 'a', 109);
    text[5 + 109] = '\0';
    ok(asocket_address_parse(&address, text) < 0, "a path of 109 bytes is refused");
    memset(text + 5, '@', 1);
    ok(asocket_address_parse(&address, text) < 0, "so is an abstract name of 108");
}

/* --- the system's form ------------------------------------------------------------------------ */

#ifdef __linux__
enum { ABSTRACT = 1 }; /* names, in no folder */
#else
enum { ABSTRACT = 0 };
#endif

static void abstract_names_are_refused(void)
{
    asocket_address address = address_of("unix:@name");
    struct sockaddr_storage native;

    is_status(asocket_address_to_native(&address, &native, sizeof native), ASOCKET_ENOTSUP,
              "P13: unix:@name is not supported here");
}

/* There and back again; the length is that of the family's own structure. */
static void check_native(const char *text, int family, size_t length)
{
    asocket_address address = address_of(text), back;
    struct sockaddr_storage native;
    char printed[160] = "";
    int got;

    memset(&native, 0xff, sizeof native);
    got = asocket_address_to_native(&address, &native, sizeof native);
    is_int(got, length, "%s is %d bytes to the system", text, (int)length);
    is_int(native.ss_family, family, "%s has the right family", text);
    if (got < 0)
        return;
    memset(&back, 0xff, sizeof back);
    is_status(asocket_address_from_native(&back, &native, (size_t)got), ASOCKET_OK,
              "%s can be taken back from the system's form", text);
    asocket_address_format(&back, printed, sizeof printed);
    ok(asocket_address_equal(&address, &back), "%s comes back as it was (%s)", text, printed);
    for (length = 0; length < (size_t)got && family != AF_UNIX; length++)
        if (asocket_address_to_native(&address, &native, length) != ASOCKET_EMSGSIZE)
            break;
    if (family != AF_UNIX)
        is_int(length, got, "%s into less room is EMSGSIZE", text);
}

static void test_native(void)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage other;
    asocket_address address = address_of("1.2.3.4:258"), back;

    check_native("1.2.3.4:80", AF_INET, sizeof in);
    check_native("0.0.0.0:0", AF_INET, sizeof in);
    check_native("255.255.255.255:65535", AF_INET, sizeof in);
    check_native("[2001:db8::1]:443", AF_INET6, sizeof in6);
    check_native("[::ffff:1.2.3.4]:443", AF_INET6, sizeof in6);
    check_native("unix:/tmp/a", AF_UNIX, offsetof(struct sockaddr_un, sun_path) + 7);
    if (ABSTRACT)
        check_native("unix:@name", AF_UNIX, offsetof(struct sockaddr_un, sun_path) + 5);
    else
        abstract_names_are_refused();

    memset(&in, 0xff, sizeof in);
    asocket_address_to_native(&address, &in, sizeof in);
    ok(in.sin_port == htons(258) && in.sin_addr.s_addr == htonl(0x01020304),
       "port and address are in network order");
    memset(&other, 0, sizeof other);
    other.ss_family = AF_UNIX + 100;
    is_status(asocket_address_from_native(&back, &other, sizeof other), ASOCKET_EINVAL,
              "a family that is none of ours is refused");
    is_status(asocket_address_from_native(&back, &in, sizeof in - 1), ASOCKET_EINVAL,
              "so is a structure that was cut");
    is_status(asocket_address_from_native(&back, &in, 0), ASOCKET_EINVAL, "and one of no bytes");
    is_status(asocket_address_from_native(&back, NULL, sizeof in), ASOCKET_EINVAL, "and NULL");
    is_status(asocket_address_from_native(NULL, &in, sizeof in), ASOCKET_EINVAL, "and into NULL");
    is_status(asocket_address_to_native(NULL, &in, sizeof in), ASOCKET_EINVAL, "to native of NULL");
    is_status(asocket_address_to_native(&address, NULL, sizeof in), ASOCKET_EINVAL,
              "to native into NULL");
    memset(&address, 0, sizeof address);
    is_status(asocket_address_to_native(&address, &other, sizeof other), ASOCKET_EINVAL,
              "no address at all has no form of the system's");
}

/* A zone is text until the system needs it: then it is the index of an interface. */
static void test_native_zones(void)
{
    unsigned index = if_nametoindex("lo");
    asocket_address address, back;
    struct sockaddr_in6 in6, again;

    if (!index) {
        skip(4, "there is no interface called lo");
        return;
    }
    address = address_of("[fe80::1%lo]:80");
    is_int(asocket_address_to_native(&address, &in6, sizeof in6), sizeof in6,
           "a zone that is an interface has a form of the system's");
    is_int(in6.sin6_scope_id, index, "with the index of the interface");
    asocket_address_from_native(&back, &in6, sizeof in6);
    asocket_address_to_native(&back, &again, sizeof again);
    is_int(again.sin6_scope_id, index, "which survives the way there and back");
    address = address_of("[fe80::1%77]:80");
    asocket_address_to_native(&address, &in6, sizeof in6);
    is_int(in6.sin6_scope_id, 77, "a zone that is a number is the index itself");
    address = address_of("[fe80::1%no-such]:80");
    ok(asocket_address_to_native(&address, &in6, sizeof in6) < 0,
       "a zone that is no interface here is refused");
}

int main(void)
{
    check_table("ip_vectors.tsv", check_ip);
    check_table("endpoint_vectors.tsv", check_endpoint);
    test_constructors();
    test_wrong_arguments();
    test_refused_leaves_none();
    test_short_buffers();
    test_zero_runs();
    test_zones();
    test_equality();
    test_predicates();
    test_mapped();
    test_paths();
    test_native();
    test_native_zones();
    return done_testing();
}
