/* tls.c - TLS clients against one server (OpenSSL's, another process): asocket_tls.h, BearSSL driven
   by hand over blocking sockets, and OpenSSL's own client, limited to TLS 1.2. Handshakes, full and
   resumed, and bulk both ways. What counts is the client's CPU time, user and system.

       cc -O2 -o build/bench/tls tests/bench/tls.c -lbearssl -lssl -lcrypto && build/bench/tls DIRECTORY

   DIRECTORY has rsa.pem, rsa.key, ec.pem, ec.key (for localhost, signed by root.pem) and root.pem;
   `make bench-tls` makes them. The clients take turns in slices; a figure is the median of all
   rounds, a ratio the median of the ratios within each round. */
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../../asocket_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/wait.h>

enum { ROUNDS = 31, CHUNK = 65536 };
enum { FULL, RESUMED, RECEIVE, SEND };
static const size_t bulk = (size_t)48 << 20; /* bytes of a slice */
static int shakes = 24;                      /* handshakes of a slice */

static void die(const char *what)
{
    fprintf(stderr, "tls: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- the server: a connection after the other; the first byte says what it shall do ------------- */

static int listen_on(int *port)
{
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 100) ||
        getsockname(fd, (struct sockaddr *)&at, &length))
        die("listen");
    *port = ntohs(at.sin_port);
    return fd;
}

static void serve_one(SSL *ssl)
{
    static char bytes[CHUNK];
    size_t left = bulk;
    char command;

    if (SSL_accept(ssl) <= 0 || SSL_read(ssl, &command, 1) != 1)
        return;
    if (command == 'S')
        while (left && SSL_write(ssl, bytes, CHUNK) == CHUNK)
            left -= CHUNK;
    if (command == 'R') {
        int count = 1;

        while (left && count > 0) {
            count = SSL_read(ssl, bytes, CHUNK);
            left -= count > 0 ? (size_t)count : 0;
        }
        SSL_write(ssl, bytes, 1);
    }
    SSL_shutdown(ssl);
}

static pid_t serve(const char *directory, const char *name, int *port)
{
    int fd = listen_on(port), on = 1;
    char path[500];
    SSL_CTX *context;
    pid_t pid = fork();

    if (pid) {
        close(fd);
        return pid;
    }
    context = SSL_CTX_new(TLS_server_method());
    snprintf(path, sizeof path, "%s/%s.pem", directory, name);
    if (SSL_CTX_use_certificate_chain_file(context, path) <= 0)
        die(path);
    snprintf(path, sizeof path, "%s/%s.key", directory, name);
    if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) <= 0)
        die(path);
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        SSL *ssl = SSL_new(context);
        char rest[256];

        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL_set_fd(ssl, client);
        serve_one(ssl);
        shutdown(client, SHUT_WR);
        while (read(client, rest, sizeof rest) > 0)
            continue;
        SSL_free(ssl);
        close(client);
    }
}

/* --- BearSSL by hand ---------------------------------------------------------------------------- */

static int port;
static br_x509_trust_anchor anchor;
static br_ssl_session_parameters by_hand_session;

static void append(void *context, const void *bytes, size_t size)
{
    br_x509_decoder_push((br_x509_decoder_context *)context, bytes, size);
}

static unsigned char *anchor_name;
static size_t anchor_name_size;

static void append_name(void *context, const void *bytes, size_t size)
{
    (void)context;
    anchor_name = (unsigned char *)realloc(anchor_name, anchor_name_size + size);
    memcpy(anchor_name + anchor_name_size, bytes, size);
    anchor_name_size += size;
}

static void load_anchor(const char *path)
{
    static br_x509_decoder_context decoder;
    br_pem_decoder_context pem;
    char text[8192], *at = text;
    FILE *file = fopen(path, "r");
    size_t left = file ? fread(text, 1, sizeof text, file) : 0;

    if (!left)
        die(path);
    fclose(file);
    br_x509_decoder_init(&decoder, append_name, NULL);
    br_pem_decoder_init(&pem);
    while (left) {
        size_t count = br_pem_decoder_push(&pem, at, left);

        at += count;
        left -= count;
        if (br_pem_decoder_event(&pem) == BR_PEM_BEGIN_OBJ)
            br_pem_decoder_setdest(&pem, append, &decoder);
    }
    if (!br_x509_decoder_get_pkey(&decoder))
        die("root.pem");
    anchor.dn.data = anchor_name;
    anchor.dn.len = anchor_name_size;
    anchor.flags = BR_X509_TA_CA;
    anchor.pkey = *br_x509_decoder_get_pkey(&decoder);
}

static int connect_to(void)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to))
        die("connect");
    return fd;
}

typedef struct hand {
    br_ssl_client_context client;
    br_x509_minimal_context x509;
    unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
    int fd;
} hand;

/* One step: sends, or receives. */
static void hand_step(hand *h)
{
    br_ssl_engine_context *engine = &h->client.eng;
    size_t size;
    unsigned char *bytes = br_ssl_engine_sendrec_buf(engine, &size);
    ssize_t count;

    if (bytes) {
        count = write(h->fd, bytes, size);
        if (count <= 0)
            die("write");
        br_ssl_engine_sendrec_ack(engine, (size_t)count);
        return;
    }
    bytes = br_ssl_engine_recvrec_buf(engine, &size);
    if (!bytes)
        die("BearSSL by hand");
    count = read(h->fd, bytes, size);
    if (count <= 0)
        die("read");
    br_ssl_engine_recvrec_ack(engine, (size_t)count);
}

static void hand_open(hand *h, bool resume)
{
    static const uint16_t suites[] = {0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC02C, 0xC030};
    br_ssl_engine_context *engine = &h->client.eng;
    unsigned char seed[48];

    br_ssl_client_init_full(&h->client, &h->x509, &anchor, 1);
    br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(engine, suites, 6);
    br_ssl_engine_set_buffers_bidi(engine, h->in, sizeof h->in, h->out, sizeof h->out);
    if (getentropy(seed, sizeof seed))
        die("getentropy");
    br_ssl_engine_inject_entropy(engine, seed, sizeof seed);
    if (resume)
        br_ssl_engine_set_session_parameters(engine, &by_hand_session);
    br_ssl_client_reset(&h->client, "localhost", resume);
    h->fd = connect_to();
    while (!(br_ssl_engine_current_state(engine) & BR_SSL_SENDAPP))
        hand_step(h);
    br_ssl_engine_get_session_parameters(engine, &by_hand_session);
}

static void hand_write(hand *h, const void *bytes, size_t size)
{
    br_ssl_engine_context *engine = &h->client.eng;
    const char *at = (const char *)bytes;

    while (size) {
        size_t room;
        unsigned char *to = br_ssl_engine_sendapp_buf(engine, &room);

        if (!to) {
            hand_step(h);
            continue;
        }
        room = room < size ? room : size;
        memcpy(to, at, room);
        br_ssl_engine_sendapp_ack(engine, room);
        br_ssl_engine_flush(engine, 0);
        at += room;
        size -= room;
    }
    while (br_ssl_engine_current_state(engine) & BR_SSL_SENDREC)
        hand_step(h);
}

static size_t hand_read(hand *h, void *buffer, size_t size)
{
    size_t count;
    unsigned char *bytes;

    while (!(bytes = br_ssl_engine_recvapp_buf(&h->client.eng, &count)))
        hand_step(h);
    count = count < size ? count : size;
    memcpy(buffer, bytes, count);
    br_ssl_engine_recvapp_ack(&h->client.eng, count);
    return count;
}

static void hand_close(hand *h)
{
    br_ssl_engine_context *engine = &h->client.eng;
    char rest[256];
    size_t size;

    while (br_ssl_engine_recvapp_buf(engine, &size))
        br_ssl_engine_recvapp_ack(engine, size);
    br_ssl_engine_close(engine);
    while (br_ssl_engine_current_state(engine) & BR_SSL_SENDREC)
        hand_step(h);
    shutdown(h->fd, SHUT_WR);
    while (read(h->fd, rest, sizeof rest) > 0)
        continue;
    close(h->fd);
}

static void hand_slice(int what)
{
    static hand h;
    static char bytes[CHUNK];
    size_t left = bulk;
    int i;

    for (i = 0; what <= RESUMED && i < shakes; i++) {
        hand_open(&h, what == RESUMED);
        hand_write(&h, "H", 1);
        hand_close(&h);
    }
    if (what <= RESUMED)
        return;
    hand_open(&h, false);
    hand_write(&h, what == RECEIVE ? "S" : "R", 1);
    while (left && what == RECEIVE)
        left -= hand_read(&h, bytes, CHUNK);
    for (; left; left -= CHUNK)
        hand_write(&h, bytes, CHUNK);
    if (what == SEND)
        (void)hand_read(&h, bytes, 1);
    hand_close(&h);
}

/* --- asocket ------------------------------------------------------------------------------------ */

static asocket_selector *selector;
static asocket_tls_options options;
static asocket_tls_sessions *sessions;
static int task;

static asocket *open_secure(asocket_read_channel **in, asocket_write_channel **out)
{
    asocket *secure =
        asocket_tls(asocket_connect(asocket_tcp(selector), "127.0.0.1", port), &options);

    if (!secure)
        die(asocket_error_message(selector));
    *in = asocket_open_read_channel(secure);
    *out = asocket_open_write_channel(secure, 0);
    return secure;
}

static void command(asocket_write_channel *out, char what)
{
    if (asocket_write(out, &what, 1) < 0 || asocket_flush(out) < 0)
        die(asocket_error_message(selector));
}

static void run_task(asocket_selector *its, void *unused)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    asocket *secure;
    static char bytes[CHUNK];
    size_t left = bulk;
    int i;

    (void)its, (void)unused;
    options.sessions = task == RESUMED ? sessions : NULL;
    for (i = 0; task <= RESUMED && i < shakes; i++) {
        secure = open_secure(&in, &out);
        command(out, 'H');
        asocket_close(secure);
        asocket_await_closed(secure);
    }
    if (task <= RESUMED)
        return;
    secure = open_secure(&in, &out);
    command(out, task == RECEIVE ? 'S' : 'R');
    while (left && task == RECEIVE) {
        ptrdiff_t count = asocket_read(in, bytes, CHUNK);

        if (count <= 0)
            die(asocket_error_message(selector));
        left -= (size_t)count;
    }
    for (; left; left -= CHUNK)
        if (asocket_write(out, bytes, CHUNK) < 0)
            die(asocket_error_message(selector));
    if (task == SEND && (asocket_flush(out) < 0 || asocket_read(in, bytes, 1) != 1))
        die(asocket_error_message(selector));
    asocket_close(secure);
    asocket_await_closed(secure);
}

static void asocket_slice(int what)
{
    task = what;
    asocket_launch(selector, run_task, NULL);
    asocket_run(selector);
}

/* --- OpenSSL ------------------------------------------------------------------------------------ */

static SSL_CTX *client_context;
static SSL_SESSION *client_session;

static SSL *openssl_open(bool resume, int *fd)
{
    SSL *ssl = SSL_new(client_context);

    *fd = connect_to();
    SSL_set_fd(ssl, *fd);
    SSL_set_tlsext_host_name(ssl, "localhost");
    SSL_set1_host(ssl, "localhost");
    if (resume && client_session)
        SSL_set_session(ssl, client_session);
    if (SSL_connect(ssl) <= 0 || SSL_get_verify_result(ssl) != X509_V_OK)
        die("SSL_connect");
    if (!client_session)
        client_session = SSL_get1_session(ssl);
    return ssl;
}

static void openssl_close(SSL *ssl, int fd)
{
    char rest[256];

    SSL_shutdown(ssl);
    shutdown(fd, SHUT_WR);
    while (read(fd, rest, sizeof rest) > 0)
        continue;
    SSL_free(ssl);
    close(fd);
}

static void openssl_slice(int what)
{
    static char bytes[CHUNK];
    size_t left = bulk;
    SSL *ssl;
    int i, fd;

    for (i = 0; what <= RESUMED && i < shakes; i++) {
        ssl = openssl_open(what == RESUMED, &fd);
        SSL_write(ssl, "H", 1);
        openssl_close(ssl, fd);
    }
    if (what <= RESUMED)
        return;
    ssl = openssl_open(false, &fd);
    SSL_write(ssl, what == RECEIVE ? "S" : "R", 1);
    while (left && what == RECEIVE) {
        int count = SSL_read(ssl, bytes, CHUNK);

        if (count <= 0)
            die("SSL_read");
        left -= (size_t)count;
    }
    for (; left; left -= CHUNK)
        if (SSL_write(ssl, bytes, CHUNK) != CHUNK)
            die("SSL_write");
    if (what == SEND)
        SSL_read(ssl, bytes, 1);
    openssl_close(ssl, fd);
}

/* --- rounds ------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, int count)
{
    double sorted[ROUNDS];

    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    return sorted[count / 2];
}

static void compare(const char *name, int what, int rounds, double limit)
{
    static void (*const clients[3])(int what) = {hand_slice, asocket_slice, openssl_slice};
    double took[3][ROUNDS], to_hand[ROUNDS], to_openssl[ROUNDS], ratio;
    double unit = what <= RESUMED ? 1e6 / shakes : 1;
    int round, i;

    for (i = 0; i < 3; i++)
        clients[i](what); /* warm, and with a session */
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < 3; i++) {
            int who = (i + round) % 3;
            double start = cpu();

            clients[who](what);
            took[who][round] = cpu() - start;
        }
        to_hand[round] = took[1][round] / took[0][round];
        to_openssl[round] = took[1][round] / took[2][round];
    }
    for (i = 0; i < 3; i++)
        for (round = 0; round < rounds; round++)
            took[i][round] =
                what <= RESUMED ? took[i][round] * unit : (double)bulk / took[i][round] / 1e6;
    ratio = median(to_hand, rounds);
    printf("%-22s %8.0f %8.0f %8.0f  %-5s   %5.3f of %.2f %s  %5.2f\n", name,
           median(took[1], rounds), median(took[0], rounds), median(took[2], rounds),
           what <= RESUMED ? "us" : "MB/s", ratio, limit, ratio <= limit ? "ok  " : "OVER",
           median(to_openssl, rounds));
    fflush(stdout);
}

static void one_certificate(const char *directory, const char *name, int rounds)
{
    char title[100];
    pid_t pid = serve(directory, name, &port);

    client_session = NULL;
    snprintf(title, sizeof title, "handshake %s", name);
    compare(title, FULL, rounds, 1.05);
    snprintf(title, sizeof title, "resumed %s", name);
    compare(title, RESUMED, rounds, 1.25);
    if (!strcmp(name, "rsa")) {
        compare("receive AES-128-GCM", RECEIVE, rounds, 1.03);
        compare("send AES-128-GCM", SEND, rounds, 1.03);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : ".";
    int rounds = getenv("QUICK") ? 7 : ROUNDS, loaded, i;
    char path[500];
    double took[ROUNDS];

    signal(SIGPIPE, SIG_IGN);
    unsetenv("SSL_CERT_DIR"); /* the bundle alone */
    unsetenv("SSL_CERT_FILE");
    snprintf(path, sizeof path, "%s/root.pem", directory);
    load_anchor(path);
    for (i = 0; i < ROUNDS; i++) {
        double start = cpu();

        asocket_tls_trust_release(options.trust);
        options.trust = asocket_tls_trust_create();
        loaded = asocket_tls_trust_add_system(options.trust);
        took[i] = (cpu() - start) * 1e6;
    }
    printf("the system's %d roots are loaded in %.0f us\n\n", loaded, median(took, ROUNDS));
    if (asocket_tls_trust_add_file(options.trust, path) != 1)
        die(asocket_tls_trust_message(options.trust));
    options.server_name = "localhost";
    sessions = asocket_tls_sessions_create(4);
    selector = asocket_selector_create(NULL);
    client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(client_context, TLS1_2_VERSION);
    SSL_CTX_set_verify(client_context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(client_context, path, NULL) <= 0)
        die(path);
    printf("%-22s %8s %8s %8s          asocket/hand          /OpenSSL\n", "client CPU", "asocket",
           "by hand", "OpenSSL");
    one_certificate(directory, "rsa", rounds);
    one_certificate(directory, "ec", rounds);
    asocket_selector_destroy(selector);
    asocket_tls_sessions_destroy(sessions);
    asocket_tls_trust_release(options.trust);
    SSL_CTX_free(client_context);
    return 0;
}
