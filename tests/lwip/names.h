/* names.h - for both the library and a test: sockets are lwIP's. gcc -include. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

extern int lwip_accept(int, struct sockaddr *, socklen_t *);
extern int lwip_bind(int, const struct sockaddr *, socklen_t);
extern int lwip_close(int);
extern int lwip_connect(int, const struct sockaddr *, socklen_t);
extern int lwip_fcntl(int, int, int);
extern int lwip_getpeername(int, struct sockaddr *, socklen_t *);
extern int lwip_getsockname(int, struct sockaddr *, socklen_t *);
extern int lwip_getsockopt(int, int, int, void *, socklen_t *);
extern int lwip_listen(int, int);
extern int lwip_poll(struct pollfd *, nfds_t, int);
extern ssize_t lwip_recv(int, void *, size_t, int);
extern ssize_t lwip_recvfrom(int, void *, size_t, int, struct sockaddr *, socklen_t *);
extern ssize_t lwip_recvmsg(int, struct msghdr *, int);
extern ssize_t lwip_send(int, const void *, size_t, int);
extern ssize_t lwip_sendmsg(int, const struct msghdr *, int);
extern ssize_t lwip_sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
extern int lwip_setsockopt(int, int, int, const void *, socklen_t);
extern int lwip_shutdown(int, int);
extern int lwip_socket(int, int, int);

#define accept      lwip_accept
#define bind        lwip_bind
#define close       lwip_close
#define connect     lwip_connect
#define fcntl       lwip_fcntl
#define getpeername lwip_getpeername
#define getsockname lwip_getsockname
#define getsockopt  lwip_getsockopt
#define listen      lwip_listen
#define poll        lwip_poll
#define recv        lwip_recv
#define recvfrom    lwip_recvfrom
#define recvmsg     lwip_recvmsg
#define send        lwip_send
#define sendmsg     lwip_sendmsg
#define sendto      lwip_sendto
#define setsockopt  lwip_setsockopt
#define shutdown    lwip_shutdown
#define socket      lwip_socket
