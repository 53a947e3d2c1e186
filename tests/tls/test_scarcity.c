/* test_scarcity.c - TLS with little: each allocation failing in turn, no entropy, small stacks; and
   what a connection costs. */
#define _GNU_SOURCE 1
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the seam between asocket_tls.h and the system ---------------------------------------------- */

static long allocations, failing_at; /* 0: none fails */
static size_t heap_bytes, heap_most; /* what asocket_tls.h holds */
static int entropy_calls, entropy_fails;

static void *scarce(void *old, size_t size)
{
    size_t *block, had = old ? ((size_t *)old)[-2] : 0;

    if (++allocations == failing_at)
        return NULL;
    heap_bytes -= had;
    block = (size_t *)realloc(old ? (size_t *)old - 2 : NULL, size + 2 * sizeof *block);
    if (!block)
        abort();
    if (size > had) /* give_back looks at all of it */
        memset((char *)(block + 2) + had, 0xA5, size - had);
    block[0] = size;
    heap_bytes += size;
    heap_most = heap_bytes > heap_most ? heap_bytes : heap_most;
    return block + 2;
}

/* What no block may hold when it is given back. */
static uint8_t secrets[3][16];
static int watched, spilled;

static void give_back(void *old)
{
    int i;

    if (old)
        heap_bytes -= ((size_t *)old)[-2];
    for (i = 0; old && i < watched; i++)
        spilled += memmem(old, ((size_t *)old)[-2], secrets[i], sizeof *secrets) != NULL;
    free(old ? (size_t *)old - 2 : NULL);
}

static int entropy(void *buffer, size_t size)
{
    entropy_calls++;
    memset(buffer, 'e', size);
    return entropy_fails ? -1 : 0;
}

#define ASOCKET_MALLOC(size)         scarce(NULL, size)
#define ASOCKET_REALLOC(block, size) scarce(block, size)
#define ASOCKET_FREE(block)          give_back(block)
#define ASOCKET_SYS(name)            seam_##name
#define seam_getentropy              entropy
#define seam_fopen                   fopen
#define seam_fread                   fread
#define seam_fclose                  fclose
#define seam_ferror                  ferror
#define seam_opendir                 opendir
#define seam_readdir                 readdir
#define seam_closedir                closedir
#define seam_secure_getenv           secure_getenv
#define seam_getenv                  getenv
#define seam_time                    time
#include "private_tls.h"
#include "server.h"
#include <sys/wait.h>

static asocket_selector *selector;

static int echo_line(asocket *secure)
{
    asocket_read_channel *in = asocket_open_read_channel(secure);
    asocket_write_channel *out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    char line[16];

    asocket_write_string(out, "still there\n");
    return (int)asocket_read_line(in, line, sizeof line);
}

/* --- memory -------------------------------------------------------------------------------------- */

static void each_allocation_fails_in_turn(void)
{
    server *s = server_open(selector, "three");
    asocket_tls_options options = server_options(s);
    static const char *const alpn[] = {"echo"};
    asocket_tls_failure failure;
    size_t before = heap_bytes;
    long count;
    int i, refused = 0, good = 0, other = 0;

    s->alpn = "echo";
    options.alpn = alpn;
    options.alpn_count = 1;
    for (i = 1; i < 100; i++) {
        asocket *secure;
        int status;

        asocket_join_all(selector);
        allocations = 0;
        failing_at = i;
        secure = server_connect(s, &options);
        count = allocations;
        failing_at = 0;
        status = secure ? 0 : asocket_error(selector);
        asocket_tls_error(selector, &failure);
        if (secure && echo_line(secure) == 11)
            good++;
        else if (status == ASOCKET_ENOMEM || failure.reason == ASOCKET_TLS_NO_MEMORY)
            refused++;
        else
            other++;
        asocket_close(secure);
        if (count < i)
            break;
    }
    asocket_join_all(selector);
    is_int(other, 0, "without memory a handshake fails as such, or goes on (%d, %d)", refused,
           good);
    ok(refused > 5 && i < 100, "... at each of %d allocations", i - 1);
    asocket_sleep(selector, 20);
    ok(heap_bytes <= before + 8192, "... and nothing is left behind: %d bytes",
       (int)(heap_bytes - before));
    server_close(s);
}

enum { MANY = 20 };

static void a_connection_is_small(void)
{
    server *s[MANY];
    asocket *secure[MANY];
    size_t before_heap, heap;
    asocket_statistics statistics;
    int i;

    for (i = 0; i < MANY; i++)
        s[i] = server_open(selector, "plain");
    before_heap = heap_bytes;
    heap_most = 0;
    for (i = 0; i < MANY; i++) {
        asocket_tls_options options = server_options(s[i]);

        secure[i] = server_connect(s[i], &options);
        is_int(echo_line(secure[i]), 11, "a connection");
        asocket_set_capacity(secure[i], 4096);
    }
    heap = (heap_bytes - before_heap) / MANY;
    asocket_sleep(selector, 20);
    ok(heap < 2 * 1024, "P5: an idle connection has %d bytes of TLS's own", (int)heap);
    asocket_stats(selector, &statistics);
    is_int(statistics.buffers, 0, "P5: ... and no buffer");
    ok(heap_most - before_heap < 60 * 1024 + MANY * heap, "one that shakes hands has some more");
    for (i = 0; i < MANY; i++)
        asocket_close(secure[i]);
    asocket_join_all(selector);
    asocket_sleep(selector, 20);
    ok(heap_bytes <= before_heap, "all of it is given back");
    for (i = 0; i < MANY; i++)
        server_close(s[i]);
}

/* All that a connection has, of TLS and of the sockets below it: the client's selector has an
   allocator of its own, and the servers are in another process. */
static test_memory all_memory;
static size_t all_most;

static size_t all_bytes(void)
{
    return heap_bytes + all_memory.bytes;
}

static void *counted(void *user, void *old, size_t old_size, size_t new_size)
{
    void *block = test_resize(user, old, old_size, new_size);

    all_most = all_bytes() > all_most ? all_bytes() : all_most;
    return block;
}

enum { RECORDS = 100, RECORD = 16384, CROWD = 65 }; /* asocket.h makes 64 sockets at a time */

static void talk_records(server *s)
{
    static char bytes[RECORDS * RECORD];
    char line[16];

    if (server_hear(s, line, sizeof line))
        (void)server_say(s, bytes, sizeof bytes);
}

/* Servers in a process of their own, for a connection each. */
static pid_t serve_elsewhere(const char *certificate, int ports[CROWD])
{
    int pair[2], i;
    pid_t child;

    if (pipe(pair) || (child = fork()) < 0)
        return -1;
    if (!child) {
        asocket_selector *its = asocket_selector_create(NULL);

        for (i = 0; i < CROWD; i++) {
            server *s = server_open(its, certificate);

            s->talk = talk_records;
            if (write(pair[1], &s->port, sizeof s->port) != sizeof s->port)
                _exit(1);
            asocket_launch(its, server_serve, s);
        }
        asocket_join_all(its);
        _exit(0);
    }
    for (i = 0; i < CROWD; i++)
        if (read(pair[0], &ports[i], sizeof ports[i]) != sizeof ports[i])
            ports[i] = 0;
    close(pair[0]);
    close(pair[1]);
    return child;
}

/* All records, to the end; and how much memory that took beside what was there. The buffer that the
   request was in stays with the selector, for any connection. */
static size_t receive_records(asocket *secure, size_t *taken)
{
    static char bytes[RECORD];
    asocket_read_channel *in = asocket_open_read_channel(secure);
    asocket_write_channel *out = asocket_open_write_channel(secure, 0);
    size_t got = 0, before;
    ptrdiff_t count;

    asocket_write_string(out, "go\n");
    asocket_flush(out);
    before = all_most = all_bytes();
    while ((count = asocket_read(in, bytes, sizeof bytes)) > 0)
        got += (size_t)count;
    is_status(count, ASOCKET_EOF, "records of 16 KiB are received");
    *taken = all_most - before;
    is_int(all_bytes() - before, 0, "P5: ... and no buffer is kept");
    return got;
}

static void a_busy_connection_is_small(const char *certificate)
{
    server *s = server_open(selector, certificate); /* its certificate and its roots */
    asocket_tls_options options = server_options(s);
    asocket_selector_options with;
    asocket_selector *own = NULL;
    asocket *secure[CROWD];
    size_t before = 0, idle, taken;
    int ports[CROWD], status = -1, i, good = 0;
    pid_t child = serve_elsewhere(certificate, ports);

    memset(&with, 0, sizeof with);
    with.allocator = test_allocator(&all_memory);
    with.allocator.resize = counted;
    is_int(asocket_selector_open(&with, &own), 0, "a selector with an allocator of its own");
    for (i = 0; i < CROWD; i++) {
        secure[i] = asocket_tls(asocket_connect(asocket_tcp(own), "127.0.0.1", ports[i]), &options);
        good += secure[i] != NULL;
        before = i ? before : all_bytes(); /* with what only the first one needs */
    }
    is_int(good, CROWD, "connections to servers in another process");
    idle = (all_bytes() - before) / (CROWD - 1);
    ok(idle < 4096, "P5: an idle connection has %d bytes in all, %d of them the certificate",
       (int)idle, (int)s->own.chain[0].data_len);
    is_int(receive_records(secure[0], &taken), RECORDS * RECORD, "... all of them");
    ok(taken + idle <= 20480, "P5: ... with %d bytes in all", (int)(taken + idle));
    ok(taken > RECORD, "... of which %d are for a record", (int)taken);
    for (i = 0; i < CROWD; i++)
        asocket_close(secure[i]);
    asocket_selector_destroy(own);
    is_int(all_memory.bytes, 0, "... as is the rest, in the end");
    ok(child > 0 && waitpid(child, &status, 0) == child && !status, "the servers were content");
    server_close(s);
}

/* --- secrets -------------------------------------------------------------------------------------- */

static bool holds(const void *block, size_t size)
{
    int i, found = 0;

    for (i = 0; i < watched; i++)
        found += memmem(block, size, secrets[i], sizeof *secrets) != NULL;
    return found != 0;
}

/* The master secret, and of either direction what is made from its key (NIST SP 800-38D: H). */
static void talk_of_secrets(server *s)
{
    memcpy(secrets[0], s->context.eng.session.master_secret, sizeof *secrets);
    memcpy(secrets[1], s->context.eng.in.gcm.h, sizeof *secrets);
    memcpy(secrets[2], s->context.eng.out.gcm.h, sizeof *secrets);
    watched = 3;
    server_record(s, 23, "secret\n", 7);
    server_record(s, 20, "\1", 1); /* which is a failure */
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void secrets_are_wiped(void)
{
    static const uint16_t gcm = BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    server *s = server_open(selector, "key_rsa");
    asocket_tls_options options = server_options(s);
    const asocket__tls *tls;
    asocket_read_channel *in;
    asocket *secure;
    char line[16];

    s->suites = &gcm;
    s->suite_count = 1;
    s->talk = talk_of_secrets;
    secure = server_connect(s, &options);
    ok(secure && watched, "keys are agreed on, and the handshake's memory is given back");
    is_int(spilled, 0, "... with no secret in it");
    tls = (const asocket__tls *)asocket_layer_state(secure, &asocket__tls_transport);
    ok(holds(&tls->u, sizeof tls->u) && holds(&tls->sealing, sizeof tls->sealing),
       "... but what opens and seals records is in the connection's");
    in = asocket_open_read_channel(secure);
    is_int(asocket_read_line(in, line, sizeof line), 6, "a line");
    is_status(asocket_read(in, line, 1), ASOCKET_ETLS, "a failure");
    ok(!holds(&tls->u, sizeof tls->u), "... after which no record can be opened");
    asocket_close(secure);
    asocket_join_all(selector);
    is_int(spilled, 0, "what is given back at the end has no secret in it");
    watched = 0;
    server_close(s);
}

/* --- entropy ------------------------------------------------------------------------------------- */

static int random_calls, random_result;

static int own_random(void *user, void *buffer, size_t size)
{
    (void)user;
    random_calls++;
    memset(buffer, 'r', size);
    return random_result;
}

static bool shakes(server *s, const asocket_tls_options *options)
{
    asocket *secure = server_connect(s, options);

    asocket_close(secure);
    asocket_join_all(selector);
    return secure != NULL;
}

static void entropy_is_needed(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;

    entropy_calls = 0;
    ok(shakes(s, &options) && entropy_calls == 1, "each handshake asks the system for entropy");
    entropy_fails = 1;
    ok(!shakes(s, &options), "P15: without it there is none");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_NO_RANDOM, "... for that reason: %s", failure.sentence);
    is_int(failure.step, ASOCKET_TLS_STEP_START, "... at the start");
    options.random = own_random;
    ok(shakes(s, &options) && random_calls == 1, "the callback may be the only source");
    random_result = 7;
    ok(!shakes(s, &options), "... and fails");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_NO_RANDOM, "... for that reason: %s", failure.sentence);
    entropy_fails = 0;
    ok(!shakes(s, &options), "... also beside the system's");
    random_result = 0;
    ok(shakes(s, &options) && random_calls == 4, "... and adds to it");
    server_close(s);
}

/* --- stacks -------------------------------------------------------------------------------------- */

typedef struct small {
    server *s;
    asocket_tls_options options;
    int got;
} small;

static void run_small(asocket_selector *its, void *argument)
{
    small *c = (small *)argument;
    asocket *secure =
        asocket_tls(asocket_connect(asocket_tcp(its), "127.0.0.1", c->s->port), &c->options);

    c->got = secure ? echo_line(secure) : asocket_error(its);
    asocket_close(secure);
}

static void a_small_stack_is_enough(void)
{
    static const char *const certificates[] = {"three", "key_rsa4096", "key_p521", "int_p521",
                                               "root_rsa4096"};
    size_t i;

    for (i = 0; i < sizeof certificates / sizeof *certificates; i++) {
        asocket_selector_options options;
        asocket_selector *own = NULL;
        small c;

        memset(&options, 0, sizeof options);
        memset(&c, 0, sizeof c);
        options.stack_size = 32 * 1024;
        options.backend = ASOCKET_BACKEND_POLL;
        if (asocket_selector_open(&options, &own) < 0)
            break;
        c.s = server_open(own, certificates[i]);
        c.options = server_options(c.s);
        asocket_launch(own, server_serve, c.s);
        asocket_launch(own, run_small, &c);
        asocket_join_all(own);
        is_int(c.got, 11, "a handshake fits a stack of 32 KiB: %s", certificates[i]);
        server_close(c.s);
        asocket_selector_destroy(own);
    }
    is_int(i, sizeof certificates / sizeof *certificates, "... all of them");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    entropy_is_needed();
    each_allocation_fails_in_turn();
    a_connection_is_small();
    a_busy_connection_is_small("plain");
    a_busy_connection_is_small("leaf_1500");
    secrets_are_wiped();
    a_small_stack_is_enough();
    return test_end(selector);
}
