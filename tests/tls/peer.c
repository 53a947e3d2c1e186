/* peer.c - a client for tls_servers.t, told by its arguments what to do:

   peer host port roots=FILE name=NAME times=N resume=1 alpn=A,B suite=HEX certificate=FILE key=FILE
        postgres=1                     asks for TLS as PostgreSQL does
        get=PATH | line=TEXT | echo=BYTES

   For each connection it prints what was agreed, then what came of it; the failure's sentence, the
   reason and step as numbers, if it failed. */
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int argument_count;
static char **arguments;

static const char *argument(const char *name)
{
    size_t length = strlen(name);
    int i;

    for (i = 3; i < argument_count; i++)
        if (!strncmp(arguments[i], name, length) && arguments[i][length] == '=')
            return arguments[i] + length + 1;
    return NULL;
}

static asocket_selector *selector;

static int failed(const char *what)
{
    asocket_tls_failure failure;

    asocket_tls_error(selector, &failure);
    printf("%s failed: %s (%d, %d)\n", what, asocket_error_message(selector), failure.reason,
           failure.step);
    return 1;
}

static void get(asocket_read_channel *in, asocket_write_channel *out, const char *path)
{
    static char bytes[70000];
    br_sha256_context hash;
    unsigned char digest[32];
    ptrdiff_t count;
    long total = 0;
    int i;

    asocket_printf(out, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    asocket_flush(out);
    while ((count = asocket_read_line(in, bytes, sizeof bytes)) > 0)
        if (!total++)
            printf("%s\n", bytes);
    br_sha256_init(&hash);
    for (total = 0; (count = asocket_read(in, bytes, sizeof bytes)) > 0; total += (long)count)
        br_sha256_update(&hash, bytes, (size_t)count);
    br_sha256_out(&hash, digest);
    printf("%ld bytes, ", total);
    for (i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    printf(", %s\n", asocket_strerror((int)count));
}

static long echo_size;

static void echo_out(asocket_selector *its, void *channel)
{
    asocket_write_channel *out = (asocket_write_channel *)channel;
    long i, j;
    char bytes[1000];

    (void)its;
    for (i = 0; i < echo_size; i += (long)sizeof bytes) {
        for (j = 0; j < (long)sizeof bytes; j++)
            bytes[j] = (char)('a' + (i + j) * 31 % 26);
        if (j > echo_size - i)
            j = echo_size - i;
        if (asocket_write(out, bytes, (size_t)j) < 0)
            return;
    }
    asocket_flush(out);
}

static int echo(asocket_read_channel *in, asocket_write_channel *out)
{
    static char bytes[5000];
    long at = 0, wrong = 0, i;

    asocket_launch(selector, echo_out, out);
    while (at < echo_size) {
        ptrdiff_t count = asocket_read(in, bytes, sizeof bytes);

        if (count < 0)
            return failed("echo");
        for (i = 0; i < (long)count; i++)
            wrong += bytes[i] != (char)('a' + (at + i) * 31 % 26);
        at += (long)count;
    }
    printf("echoed %ld, %ld wrong\n", at, wrong);
    return wrong != 0;
}

static int once(const asocket_tls_options *options)
{
    asocket *socket = asocket_connect(asocket_tcp(selector), arguments[1], atoi(arguments[2])),
            *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    asocket_tls_details details;
    char line[1000];
    int status = 0;

    if (!socket)
        return failed("connect");
    if (argument("postgres")) { /* SSLRequest */
        asocket_write_channel *plain = asocket_open_write_channel(socket, 0);

        asocket_write(plain, "\0\0\0\10\4\322\26\57", 8);
        asocket_flush(plain);
        if (asocket_read_byte(asocket_open_read_channel(socket)) != 'S')
            return failed("SSLRequest");
    }
    secure = asocket_tls(socket, options);
    if (!secure)
        return failed("tls");
    asocket_tls_info(secure, &details);
    printf("%s %s %s alpn=%s resumed=%d verified=%d name=%s\n", details.version, details.suite_name,
           *details.group ? details.group : "-", details.alpn, details.resumed, details.verified,
           details.server_name);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    if (argument("get"))
        get(in, out, argument("get"));
    if (argument("echo"))
        status = echo(in, out);
    if (argument("line")) {
        asocket_printf(out, "%s\n", argument("line"));
        asocket_flush(out);
        status = asocket_read_line(in, line, sizeof line) < 0;
        if (status)
            (void)failed("line");
        else
            printf("%s\n", line);
    }
    if (argument("postgres")) { /* a StartupMessage of a version that does not exist */
        asocket_write(out, "\0\0\0\10\0\77\0\0", 8);
        asocket_flush(out);
        printf("answer: %c\n", asocket_read_byte(in));
    }
    asocket_close(secure);
    return status;
}

int main(int argc, char **argv)
{
    asocket_tls_options options;
    asocket_tls_failure failure;
    const char *protocols[8];
    uint16_t suite;
    char *next;
    int times, status = 0;

    argument_count = argc;
    arguments = argv;
    memset(&options, 0, sizeof options);
    memset(&failure, 0, sizeof failure);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argument("roots")) {
        options.trust = asocket_tls_trust_create();
        if (asocket_tls_trust_add_file(options.trust, argument("roots")) < 0)
            printf("%s\n", asocket_tls_trust_message(options.trust));
    }
    options.server_name = argument("name");
    for (next = argument("alpn") ? strtok((char *)(uintptr_t)argument("alpn"), ",") : NULL; next;
         next = strtok(NULL, ","))
        protocols[options.alpn_count++] = next;
    options.alpn = protocols;
    if (argument("suite")) {
        suite = (uint16_t)strtol(argument("suite"), NULL, 16);
        options.cipher_suites = &suite;
        options.cipher_suite_count = 1;
    }
    if (argument("certificate"))
        options.identity =
            asocket_tls_identity_load(argument("certificate"), argument("key"), &failure);
    if (failure.reason)
        printf("%s\n", failure.sentence);
    if (argument("resume"))
        options.sessions = asocket_tls_sessions_create(0);
    if (argument("echo"))
        echo_size = atol(argument("echo"));
    selector = asocket_selector_create(NULL);
    for (times = argument("times") ? atoi(argument("times")) : 1; times > 0; times--)
        status |= once(&options);
    asocket_selector_destroy(selector);
    asocket_tls_sessions_destroy(options.sessions);
    asocket_tls_identity_release(options.identity);
    asocket_tls_trust_release(options.trust);
    return status;
}
