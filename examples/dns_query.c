/* dns_query: asks a name server for the IPv4 addresses of a name (RFC 1035), three times if need be.
   Run:  cc examples/dns_query.c -o dns_query && ./dns_query ADDRESS:PORT NAME
   Talk: ./dns_query 9.9.9.9:53 example.org */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <string.h>

static ptrdiff_t make_query(unsigned char *at, const char *name) /* of at most 253 characters */
{
    static const unsigned char header[12] = {0x5a, 0xc5, 1, 0, 0, 1}; /* recursion; 1 question */
    static const unsigned char question[5] = {0, 0, 1, 0, 1};         /* the root; A, IN */
    unsigned char *label = at + sizeof header, *end = label + 1;

    memcpy(at, header, sizeof header);
    for (*label = 0; *name; name++)
        if (*name != '.')
            *end++ = (unsigned char)*name, ++*label;
        else if (name[1])
            *(label = end++) = 0;
    memcpy(end, question, sizeof question);
    return end - at + (ptrdiff_t)sizeof question;
}

static void print_addresses(const unsigned char *at, const unsigned char *end)
{
    while (end - at >= 12) { /* each name is a pointer to an earlier one: 2 bytes; 10 follow */
        const unsigned char *data = at + 12;
        int size = data[-2] << 8 | data[-1];
        if (at[3] == 1 && size == 4 && end - data >= 4) /* others are aliases on the way */
            printf("%d.%d.%d.%d\n", data[0], data[1], data[2], data[3]);
        at = size > end - data ? end : data + size;
    }
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder udp = asocket_udp(selector);
    unsigned char query[300], answer[512] = {0};
    ptrdiff_t size = make_query(query, argc > 2 && strlen(argv[2]) < 254 ? argv[2] : ""), count = 0;
    asocket *socket = NULL;
    asocket_address server;

    udp.timeout = 1000; /* milliseconds */
    if (argc > 2 && asocket_address_parse(&server, argv[1]) >= 0)
        socket = asocket_connect_address(udp, &server);
    for (int tries = 0; socket && tries < 3 && count < size; tries++)
        if (asocket_send_to(socket, query, (size_t)size, NULL) >= 0)
            count = asocket_receive_from(socket, answer, sizeof answer, NULL);
    if (count < size)
        fprintf(stderr, "%s\n", socket ? asocket_error_message(selector) : "ADDRESS:PORT NAME");
    else if (memcmp(answer, query, 2) || answer[3] & 15)
        fprintf(stderr, "The server answers with error %d\n", answer[3] & 15);
    else
        print_addresses(answer + size, answer + count);
    asocket_selector_destroy(selector);
    return count < size || answer[3] & 15;
}
