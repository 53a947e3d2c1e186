/* The chains of chains.tsv over real handshakes: openssl s_server sends them, asocket_tls takes or
   refuses them with the same words, and a server that was refused is told so by an alert.

   With the name of a chain as its second argument it looks at that one alone. */
#define TAP_SECONDS 300
#include "private_tls.h"
#include "chains.h"
#include <signal.h>
#include <sys/wait.h>

static asocket_selector *selector;
static int served, refused, alerts;

static int64_t clock_now(void *user)
{
    const char *text = option((const struct row *)user, "now=");

    return text ? atoi(text) : NOW;
}

/* Starts it and waits until it listens: its port, or 0. */
static int server_begin(const struct row *row, pid_t *pid, FILE **says)
{
    char certificate[128], key[128], rest[128], line[256];
    int ends[2], port = 0;

    snprintf(certificate, sizeof certificate, CERTIFICATES "%s.pem", row->name);
    snprintf(rest, sizeof rest, CERTIFICATES "%s.rest.pem", row->name);
    snprintf(key, sizeof key, CERTIFICATES "%s.key", row->name);
    if (access(key, R_OK) || pipe(ends))
        return 0;
    *pid = fork();
    if (*pid == 0) {
        dup2(open("/dev/null", O_RDWR), 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev",
               "-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-cert", certificate, "-key", key,
               access(rest, R_OK) ? (char *)NULL : "-cert_chain", rest, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *says = fdopen(ends[0], "r");
    while (*says && !port && fgets(line, sizeof line, *says))
        if (strncmp(line, "ACCEPT ", 7) == 0 && strrchr(line, ':'))
            port = atoi(strrchr(line, ':') + 1);
    return port;
}

/* Ends it; whether it was told this alert (a part of OpenSSL's words for it). */
static bool server_end(pid_t pid, FILE *says, const char *alert)
{
    char line[512];
    bool told = false;

    while (says && fgets(line, sizeof line, says))
        told |= strstr(line, alert) != NULL;
    if (says)
        fclose(says);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    return told;
}

static bool talk(asocket *secure)
{
    asocket_write_channel *out = asocket_open_write_channel(secure, 0);
    asocket_read_channel *in = asocket_open_read_channel(secure);
    char line[64];

    return asocket_write_string(out, "hello\n") == 6 && asocket_flush(out) == 0 &&
           asocket_read_line(in, line, sizeof line) == 5 && strcmp(line, "olleh") == 0;
}

static size_t read_pins(const struct row *row, uint8_t pins[4][32])
{
    char path[128];
    size_t size, count = 0, i;
    uint8_t *text;
    unsigned byte;

    snprintf(path, sizeof path, CERTIFICATES "%s.pins", row->name);
    text = read_whole(path, &size);
    for (; text && 65 * count + 64 <= size && count < 4; count++)
        for (i = 0; i < 32; i++) {
            sscanf((char *)text + 65 * count + 2 * i, "%2x", &byte);
            pins[count][i] = (uint8_t)byte;
        }
    free(text);
    return count;
}

static void meet(const struct row *row, int port, asocket_tls_trust *trust)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket_tls_options options;
    asocket_tls_failure failure;
    asocket_tls_details details;
    asocket *secure;
    uint8_t pins[4][32];
    const char *limit = option(row, "certificates=");

    memset(&options, 0, sizeof options);
    memset(&details, 0, sizeof details);
    options.server_name = row->host;
    options.trust = trust;
    options.pin_count = read_pins(row, pins);
    options.pins = options.pin_count ? (const uint8_t(*)[32])pins : NULL;
    options.pin_only = option(row, "pin_only") != NULL;
    options.now = clock_now;
    options.clock = option(row, "clock=from_chain") ? ASOCKET_TLS_CLOCK_FROM_CHAIN : 0;
    options.chain_certificates = limit ? (size_t)atoi(limit) : 0;
    options.user = (void *)(uintptr_t)row;
    secure = asocket_tls(asocket_connect(tcp, "127.0.0.1", port), &options);
    asocket_tls_error(selector, &failure);
    if (secure) {
        asocket_tls_info(secure, &details);
        if (!ok(strcmp(row->verdict, "OK") == 0 && talk(secure) && details.verified &&
                    details.certificate.size > 0,
                "P15: %s for %s is taken", row->name, row->host))
            diag("expected %s; then: %s", row->verdict, asocket_error_message(selector));
        asocket_close(secure);
        return;
    }
    if (!ok(strcmp(reasons[failure.reason], row->verdict) == 0 &&
                has_words(failure.sentence, row->words) && failure.status == ASOCKET_ETLS &&
                failure.step == ASOCKET_TLS_STEP_CERTIFICATE &&
                strstr(asocket_error_message(selector), failure.sentence),
            "P15: %s for %s is refused: %s", row->name, row->host, row->verdict))
        diag("got %s: %s", reasons[failure.reason], asocket_error_message(selector));
}

static void look_at(const struct row *row)
{
    asocket_tls_trust *trust = asocket_tls_trust_create();
    char path[128];
    FILE *says = NULL;
    pid_t pid = 0;
    int port = 0;

    snprintf(path, sizeof path, CERTIFICATES "%s.trust.pem", row->name);
    asocket_tls_trust_add_file(trust, path);
    if (!option(row, "unserved"))
        port = server_begin(row, &pid, &says);
    if (port) {
        served++;
        meet(row, port, trust);
        asocket_poll(selector, 0);
    }
    if (pid) {
        bool told = server_end(pid, says, "alert");

        if (port && strcmp(row->verdict, "OK") != 0) {
            refused++;
            alerts += told;
        }
    }
    asocket_tls_trust_release(trust);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    if (system("openssl version >/dev/null 2>&1") != 0)
        skip_all("openssl is missing");
    rows_each(CHAINS, argc < 3 ? NULL : argv[2], look_at);
    if (argc < 3) {
        ok(served > 220, "P15: openssl served %d chains", served);
        is_int(alerts, refused, "P15: the servers that were refused were told by an alert");
    }
    return test_end(selector);
}
