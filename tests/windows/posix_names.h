/* posix_names.h - from here on the calls of POSIX are those of posix.h. After the library, which must
   not meet these macros. */
#ifndef TESTS_WINDOWS_POSIX_NAMES_H
#define TESTS_WINDOWS_POSIX_NAMES_H

#define socket(domain, type, protocol)        posix_socket(domain, type, protocol)
#define accept(fd, address, size)             posix_accept(fd, address, size)
#define connect(fd, address, size)            posix_connect(fd, address, size)
#define bind(fd, address, size)               posix_bind(fd, address, size)
#define listen(fd, backlog)                   posix_listen(fd, backlog)
#define getsockname(fd, address, size)        posix_getsockname(fd, address, size)
#define getpeername(fd, address, size)        posix_getpeername(fd, address, size)
#define shutdown(fd, how)                     posix_shutdown(fd, how)
#define setsockopt(fd, level, name, v, size)  posix_setsockopt(fd, level, name, v, size)
#define getsockopt(fd, level, name, v, size)  posix_getsockopt(fd, level, name, v, size)
#define poll(entries, count, timeout)         posix_poll(entries, count, timeout)
#define recv(fd, buffer, size, flags)         posix_recv(fd, buffer, size, flags)
#define recvfrom(fd, b, size, flags, from, l) posix_recvfrom(fd, b, size, flags, from, l)
#define send(fd, bytes, size, flags)          posix_send(fd, bytes, size, flags)
#define sendto(fd, b, size, flags, to, l)     posix_sendto(fd, b, size, flags, to, l)
#define close(fd)                             posix_close(fd)
#define read(fd, buffer, size)                posix_read(fd, buffer, size)
#define write(fd, bytes, size)                posix_write(fd, bytes, size)
#define fcntl(...)                            posix_fcntl(POSIX_THREE(__VA_ARGS__, 0, 0))
#define POSIX_THREE(a, b, c, ...)             a, b, c
#define socketpair(domain, type, p, ends)     posix_socketpair(domain, type, p, ends)
#define dup(fd)                               posix_dup(fd)
#define pipe(ends)                            posix_pipe(ends)
#define pwrite(file, bytes, size, offset)     posix_pwrite(file, bytes, size, offset)
#define clock()                               posix_clock()
#define getrusage(who, usage)                 posix_getrusage(usage)
#define if_nametoindex(name)                  posix_if_nametoindex(name)

#endif
