/* Any names of a certificate against any host: the first line is the host, each other line a dNSName,
   or after '#' an iPAddress in bytes. The answer is that of a matcher which takes labels apart. */
#include "fuzz.h"

enum { MOST = 300 };

struct labels {
    char text[MOST];
    const char *label[MOST];
    int count;
};

/* In small letters, at the dots. */
static void split(struct labels *labels, const uint8_t *text, size_t size)
{
    size_t i;

    labels->count = 0;
    labels->label[labels->count++] = labels->text;
    for (i = 0; i < size; i++) {
        char c = (char)text[i];

        labels->text[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        if (c == '.') {
            labels->text[i] = 0;
            labels->label[labels->count++] = labels->text + i + 1;
        }
    }
    labels->text[size] = 0;
}

static bool is_host(const struct labels *host, size_t size)
{
    int i;

    for (i = 0; i < host->count; i++) {
        size_t length = strlen(host->label[i]);

        if (!length || length > 63 ||
            strspn(host->label[i], "abcdefghijklmnopqrstuvwxyz0123456789-_") != length)
            return false;
    }
    return size <= 253 && strspn(host->label[host->count - 1], "0123456789") !=
                              strlen(host->label[host->count - 1]);
}

static bool covers(const struct labels *pattern, const struct labels *host)
{
    int i, first = 0;

    if (pattern->count != host->count)
        return false;
    if (!strcmp(pattern->label[0], "*"))
        first = 1;
    if (first && pattern->count < 3)
        return false;
    for (i = first; i < host->count; i++)
        if (strcmp(pattern->label[i], host->label[i]) != 0)
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct labels host, pattern;
    uint8_t *list, *out;
    char name[MOST];
    const uint8_t *end = bytes + size, *line = (const uint8_t *)memchr(bytes, '\n', size);
    size_t length = line ? (size_t)(line - bytes) : size;
    asocket__tls_span span;
    asocket_ip ip;
    bool address, expected = false;

    if (!size || length >= MOST - 1 || memchr(bytes, 0, length))
        return 0;
    memcpy(name, bytes, length);
    name[length] = 0;
    address = asocket_ip_parse(&ip, name) == 0;
    split(&host, bytes, length);
    list = out = (uint8_t *)malloc(size * 3 + 3);
    if (!list)
        abort();
    while (line && line < end) {
        const uint8_t *first = line + 1,
                      *next = (const uint8_t *)memchr(first, '\n', (size_t)(end - first));
        bool is_ip = first < end && *first == '#';
        size_t part;

        first += is_ip;
        part = (size_t)((next ? next : end) - first);
        line = next;
        if (part > 127)
            continue;
        *out++ = is_ip ? 0x87 : 0x82;
        *out++ = (uint8_t)part;
        memcpy(out, first, part);
        out += part;
        split(&pattern, first, part);
        if (is_ip && address)
            expected |= part == (ip.family == 4 ? 4u : 16u) && !memcmp(first, ip.bytes, part);
        else if (!is_ip && !address && !memchr(first, 0, part))
            expected |= is_host(&host, length) && covers(&pattern, &host);
    }
    span.at = exactly(list, (size_t)(out - list));
    span.end = span.at + (out - list);
    must(asocket__tls_name_matches(span, name) == expected);
    must(address || asocket__tls_name_is_valid(name) == is_host(&host, length));
    free((void *)(uintptr_t)span.at);
    free(list);
    return 0;
}
