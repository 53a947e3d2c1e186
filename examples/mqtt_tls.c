// mqtt_tls.c - publishes a message over TLS and waits until it comes back (MQTT 3.1.1).
// mqtt_tls host port roots.pem topic message
// cc examples/mqtt_tls.c -lbearssl
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_text(asocket_write_channel *out, const char *text)
{
    asocket_write_u16be(out, (uint16_t)strlen(text));
    asocket_write_string(out, text);
}

// The next packet's type and content: short ones only, whose length is one byte.
static int packet(asocket_read_channel *in, char content[128])
{
    int type = asocket_read_byte(in), size = asocket_read_byte(in);

    if (size < 0 || size > 127 || asocket_read_full(in, content, (size_t)size) < 0)
        return -1;
    content[size] = 0;
    return type >> 4;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_tls_options options = {0};
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char content[128];
    int type = -1;

    if (argc < 6 || strlen(argv[4]) + strlen(argv[5]) > 120)
        return 2;
    options.trust = asocket_tls_trust_create();
    asocket_tls_trust_add_file(options.trust, argv[3]);
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), argv[1], atoi(argv[2])), &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    asocket_write(out, "\x10\x10\0\4MQTT\4\2\0\74\0\4demo", 18);    // CONNECT: clean, 60 s, "demo"
    asocket_printf(out, "\x82%c%c\1", (int)strlen(argv[4]) + 5, 0); // SUBSCRIBE, number 1
    put_text(out, argv[4]);
    asocket_printf(out, "%c\x30%c", 0, (int)(strlen(argv[4]) + strlen(argv[5])) + 2); // PUBLISH
    put_text(out, argv[4]);
    asocket_write_string(out, argv[5]);
    asocket_flush(out);
    while ((type = packet(in, content)) > 0 && type != 3)
        printf("%s\n", type == 2 ? "connected" : type == 9 ? "subscribed" : "?");
    printf("%s\n", type == 3 ? content + 2 + strlen(argv[4]) : asocket_error_message(selector));
    asocket_tls_trust_release(options.trust);
    asocket_selector_destroy(selector);
    return type != 3;
}
