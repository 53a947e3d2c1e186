/* raw_udp.c - the practical limit for datagrams: what a patient person writes by hand on epoll.

   One edge-triggered registration; recvmmsg takes what there is, up to a batch, and fewer than
   asked means that the socket is drained. Answers go by one sendmmsg, from the places
   where the questions came in. The flow that it sends itself is cut into datagrams by the kernel
   (UDP_SEGMENT), the one that it receives is joined by it (UDP_GRO).

   usage: raw_udp echo|in|out
     echo  sends back what comes
     in    counts; a datagram that begins with '?' is answered with the count
     out   a datagram is a struct request: it is answered with so many datagrams */
#include "udp.h"

#include <sys/epoll.h>

static int server;
static char slots[BATCH][SLOT];
static struct mmsghdr messages[BATCH];
static struct iovec pieces[BATCH];
static struct sockaddr_in names[BATCH];
static uint64_t counted;
static char flow_bytes[65536];

static void prepare_messages(void)
{
    size_t i;

    for (i = 0; i < BATCH; i++) {
        pieces[i].iov_base = slots[i];
        messages[i].msg_hdr.msg_name = &names[i];
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static int receive_batch(void)
{
    int i;

    for (i = 0; i < BATCH; i++) {
        pieces[i].iov_len = SLOT;
        messages[i].msg_hdr.msg_namelen = sizeof names[i];
    }
    return recvmmsg(server, messages, BATCH, MSG_DONTWAIT, NULL);
}

static void send_back(int count)
{
    int i, sent = 0;

    for (i = 0; i < count; i++)
        pieces[i].iov_len = messages[i].msg_len;
    while (sent < count) {
        int now = sendmmsg(server, messages + sent, (unsigned)(count - sent), MSG_NOSIGNAL);

        if (now < 0)
            return; /* the queue is full: datagrams may be lost */
        sent += now;
    }
}

static void count_batch(int count)
{
    int i;

    for (i = 0; i < count; i++) {
        counted++;
        if (slots[i][0] == '?')
            sendto(server, &counted, sizeof counted, MSG_NOSIGNAL, (struct sockaddr *)&names[i],
                   sizeof names[i]);
    }
}

/* What came at once: datagrams of one sender, all of one size but for a shorter last one. */
static void count_joined(void)
{
    static char stage[65536];
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec piece;
    struct msghdr message;
    ssize_t size, at;
    int one;

    memset(&message, 0, sizeof message);
    piece.iov_base = stage;
    piece.iov_len = sizeof stage;
    message.msg_name = &names[0];
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    for (;;) {
        message.msg_namelen = sizeof names[0];
        message.msg_controllen = sizeof control;
        size = recvmsg(server, &message, MSG_DONTWAIT);
        if (size <= 0)
            return;
        one = (int)size;
        if (CMSG_FIRSTHDR(&message))
            memcpy(&one, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof one);
        for (at = 0; at < size; at += one) {
            memcpy(slots[0], stage + at, (size_t)(size - at < one ? size - at : one));
            count_batch(1);
        }
    }
}

/* One send of up to 64 datagrams and 65,000 bytes, that the kernel cuts. */
static void send_segments(struct sockaddr_in *to, uint16_t size, size_t count)
{
    struct segmentation segmentation;
    struct iovec piece;
    struct msghdr message;

    piece.iov_base = flow_bytes;
    piece.iov_len = size * count;
    memset(&message, 0, sizeof message);
    message.msg_name = to;
    message.msg_namelen = sizeof *to;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    segment(&message, &segmentation, size);
    sendmsg(server, &message, MSG_NOSIGNAL);
}

static void send_flow(struct sockaddr_in *to, const struct request *request)
{
    size_t left = request->count, once = 65000 / request->size < 64 ? 65000 / request->size : 64;

    while (left > 0) {
        size_t count = left < once ? left : once;

        send_segments(to, (uint16_t)request->size, count);
        left -= count;
    }
}

static void answer_requests(int count)
{
    struct request request;
    int i;

    for (i = 0; i < count; i++) {
        if (take_request(&request, slots[i], messages[i].msg_len))
            send_flow(&names[i], &request);
    }
}

static void answer(enum work work, int count)
{
    if (work == WORK_ECHO)
        send_back(count);
    else if (work == WORK_IN)
        count_batch(count);
    else
        answer_requests(count);
}

static void serve(enum work work, int queue)
{
    struct epoll_event event;
    int count;

    for (;;) {
        if (epoll_wait(queue, &event, 1, -1) < 0 && errno != EINTR)
            fail("epoll_wait");
        if (work == WORK_IN) {
            count_joined();
            continue;
        }
        do {
            count = receive_batch();
            answer(work, count);
        } while (count == BATCH);
    }
}

static int open_server(void)
{
    struct sockaddr_in address = loopback(0);
    int size = RECEIVE_BUFFER;
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        fail("bind");
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0)
        fail("setsockopt");
    return descriptor;
}

int main(int argc, char **argv)
{
    enum work work = parse_work(argc > 1 ? argv[1] : "echo");
    int queue = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;
    int one = 1;

    prepare_messages();
    server = open_server();
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN | EPOLLET;
    if (queue < 0 || epoll_ctl(queue, EPOLL_CTL_ADD, server, &event) < 0)
        fail("epoll");
    if (work == WORK_IN && setsockopt(server, IPPROTO_UDP, UDP_GRO, &one, sizeof one))
        fail("UDP_GRO");
    announce(port_of(server));
    serve(work, queue);
    return 0;
}
