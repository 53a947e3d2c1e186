/* Any bytes as an address, by its first byte: text that is parsed, the bytes of an IP address that is
   printed, or a whole structure. What is printed is what RFC 5952 asks for, and parses back to the
   same; the C library agrees on what is an address; nothing is read or written past the end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "../../asocket.h"
#define FUZZ_PROMISES ""
#define FUZZ_WITHOUT_TLS
#include "fuzz.h"
#include <arpa/inet.h>
#include <sys/un.h>

/* RFC 5952, without a look at the library's way: each run of zeros is tried, the first longest one
   is left out, and mapped addresses end in dotted decimal. */
static void canonical(const uint8_t bytes[16], char text[64])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool dotted = !memcmp(bytes, mapped, 12);
    int groups = dotted ? 6 : 8, from, to, first = -1, longest = 1, i;
    char *at = text;

    for (from = 0; from < groups; from++)
        for (to = from; to < groups && !bytes[to * 2] && !bytes[to * 2 + 1]; to++)
            if (to - from + 1 > longest)
                first = from, longest = to - from + 1;
    for (i = 0; i < groups; i++) {
        if (i == first) {
            at += sprintf(at, "::");
            i += longest - 1;
        } else {
            at += sprintf(at, at > text && at[-1] != ':' ? ":%x" : "%x",
                          (unsigned)(bytes[i * 2] << 8 | bytes[i * 2 + 1]));
        }
    }
    if (dotted)
        sprintf(at, at[-1] == ':' ? "%d.%d.%d.%d" : ":%d.%d.%d.%d", bytes[12], bytes[13], bytes[14],
                bytes[15]);
}

/* Formats into memory of each size up to the one that is enough: the length. */
static int format(const asocket_ip *ip, const asocket_address *address, char text[160])
{
    int length = -1;
    size_t size;

    for (size = 0; length < 0; size++) {
        char *buffer = (char *)exactly("", size);

        length = ip ? asocket_ip_format(ip, buffer, size)
                    : asocket_address_format(address, buffer, size);
        must(length == ASOCKET_EMSGSIZE || (length >= 0 && (size_t)length + 1 == size));
        must(!size || memchr(buffer, 0, size));
        if (length >= 0)
            memcpy(text, buffer, size);
        free(buffer);
        must(size < 160);
    }
    must(strlen(text) == (size_t)length);
    return length;
}

/* What was parsed, or made from bytes, comes back from what is printed. */
static void look_at_ip(const asocket_ip *ip)
{
    char text[160], expected[64];
    asocket_ip again;

    must(format(ip, NULL, text) < 46 + 16);
    must(!asocket_ip_parse(&again, text) && asocket_ip_equal(ip, &again));
    must(asocket_ip_is_ipv4(ip) == (ip->family == 4));
    if (ip->family == 4)
        snprintf(expected, sizeof expected, "%d.%d.%d.%d", ip->bytes[0], ip->bytes[1], ip->bytes[2],
                 ip->bytes[3]);
    else
        canonical(ip->bytes, expected);
    must(!strncmp(text, expected, strlen(expected)));
    must(text[strlen(expected)] == (ip->zone[0] ? '%' : 0));
    must(!ip->zone[0] || !strcmp(text + strlen(expected) + 1, ip->zone));
}

static void look_at_address(const asocket_address *address)
{
    char text[160];
    asocket_address again;
    struct sockaddr_storage native;
    int size;

    must(format(NULL, address, text) < 128);
    must(!asocket_address_parse(&again, text) && asocket_address_equal(address, &again));
    if (!address->path_length) {
        asocket_ip copy = address->ip;

        look_at_ip(&copy);
        if (copy.zone[0]) /* it may be no interface here */
            return;
    }
    size = asocket_address_to_native(address, &native, sizeof native);
    must(size > 0 &&
         asocket_address_to_native(address, &native, (size_t)size - 1) == ASOCKET_EMSGSIZE);
    must(!asocket_address_from_native(&again, &native, (size_t)size));
    must(asocket_address_equal(address, &again));
}

/* The C library knows no zones. */
static void look_at_text(const char *text)
{
    uint8_t bytes[16];
    asocket_address address;
    asocket_ip ip;
    int status = asocket_ip_parse(&ip, text);
    int family = inet_pton(AF_INET, text, bytes) == 1    ? 4
                 : inet_pton(AF_INET6, text, bytes) == 1 ? 6
                                                         : 0;

    if (!strchr(text, '%')) {
        must((status == 0) == (family != 0));
        must(ip.family == family && !ip.zone[0]);
        must(!family || !memcmp(ip.bytes, bytes, family == 4 ? 4 : 16));
    }
    must(!status || (status == ASOCKET_EINVAL && !ip.family));
    if (!status)
        look_at_ip(&ip);
    status = asocket_address_parse(&address, text);
    must(!status || (status == ASOCKET_EINVAL && !address.ip.family && !address.path_length));
    if (!status)
        look_at_address(&address);
}

/* Anything at all as a structure, or as one of the system's: an answer, and within its bounds. */
static void look_at_structure(const uint8_t *bytes, size_t size)
{
    asocket_address address, other;
    struct sockaddr_storage native;
    uint8_t *copy = exactly(bytes, size);
    char text[200];
    int status = asocket_address_from_native(&address, copy, size);

    free(copy);
    must(!status || status == ASOCKET_EINVAL);
    must(status || !address.path_length || address.path_length <= sizeof address.path);
    memset(&address, 0, sizeof address);
    memcpy(&address, bytes, size < sizeof address ? size : sizeof address);
    status = asocket_address_format(&address, text, sizeof text);
    must(status == ASOCKET_EINVAL || (status >= 0 && strlen(text) == (size_t)status));
    must(asocket_ip_format(&address.ip, text, sizeof text) < 46 + 16);
    other = address;
    must(asocket_address_equal(&address, &other) || address.path_length > sizeof address.path);
    status = asocket_address_to_native(&address, &native, sizeof native);
    must(status > 0 || status == ASOCKET_EINVAL || status == ASOCKET_EADDRNOTAVAIL);
    must(status <= (int)sizeof(struct sockaddr_un) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    asocket_address address;
    asocket_ip ip;
    char *text;

    if (size < 2)
        return 0;
    if (bytes[0] % 4 == 1) {
        look_at_structure(bytes + 1, size - 1);
        return 0;
    }
    if (bytes[0] % 4 == 2) {
        int status = asocket_ip_from_bytes(&ip, bytes + 1, size - 1);

        must((status == 0) == (size == 5 || size == 17));
        address = asocket_address_of(ip, (uint16_t)(bytes[0] * 257));
        if (!status)
            look_at_address(&address);
        return 0;
    }
    text = (char *)exactly(bytes, size); /* the first one becomes the last, which ends it */
    memmove(text, text + 1, size - 1);
    text[size - 1] = 0;
    look_at_text(text);
    free(text);
    return 0;
}
