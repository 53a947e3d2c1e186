/* numbers.h - names that macOS and Linux share with different numbers. linux.c makes tables of them
   with the numbers of one, apple.c with those of the other. */

/* clang-format would push them further to the right with each line, and never be done. */
// clang-format off
#define ERRORS(X)                                                                                \
    X(EPERM) X(ENOENT) X(EINTR) X(EIO) X(ENXIO) X(EBADF) X(ECHILD) X(EAGAIN) X(ENOMEM) X(EACCES) \
    X(EFAULT) X(EBUSY) X(EEXIST) X(ENODEV) X(ENOTDIR) X(EISDIR) X(EINVAL) X(ENFILE) X(EMFILE)    \
    X(ENOTTY) X(EFBIG) X(ENOSPC) X(ESPIPE) X(EROFS) X(EPIPE) X(EDOM) X(ERANGE) X(EDEADLK)        \
    X(EINPROGRESS) X(EALREADY) X(ENOTSOCK) X(EDESTADDRREQ) X(EMSGSIZE) X(EPROTOTYPE)             \
    X(ENOPROTOOPT) X(EPROTONOSUPPORT) X(ESOCKTNOSUPPORT) X(EOPNOTSUPP) X(EPFNOSUPPORT)           \
    X(EAFNOSUPPORT) X(EADDRINUSE) X(EADDRNOTAVAIL) X(ENETDOWN) X(ENETUNREACH) X(ENETRESET)       \
    X(ECONNABORTED) X(ECONNRESET) X(ENOBUFS) X(EISCONN) X(ENOTCONN) X(ESHUTDOWN) X(ETIMEDOUT)    \
    X(ECONNREFUSED) X(ELOOP) X(ENAMETOOLONG) X(EHOSTDOWN) X(EHOSTUNREACH) X(ENOTEMPTY) X(ENOSYS) \
    X(EOVERFLOW) X(ECANCELED) X(EPROTO) X(ETIME)

#define SIGNALS(X)                                                                                \
    X(SIGHUP) X(SIGINT) X(SIGQUIT) X(SIGILL) X(SIGTRAP) X(SIGABRT) X(SIGFPE) X(SIGKILL) X(SIGBUS) \
    X(SIGSEGV) X(SIGSYS) X(SIGPIPE) X(SIGALRM) X(SIGTERM) X(SIGURG) X(SIGSTOP) X(SIGTSTP)         \
    X(SIGCONT) X(SIGCHLD) X(SIGTTIN) X(SIGTTOU) X(SIGIO) X(SIGXCPU) X(SIGXFSZ) X(SIGVTALRM)       \
    X(SIGPROF) X(SIGWINCH) X(SIGUSR1) X(SIGUSR2)

#define FAMILIES(X) X(AF_UNSPEC) X(AF_UNIX) X(AF_INET) X(AF_INET6)

/* Of calls, and in what recvmsg answers. */
#define MESSAGE_FLAGS(X)                                                                         \
    X(MSG_OOB) X(MSG_PEEK) X(MSG_DONTROUTE) X(MSG_EOR) X(MSG_TRUNC) X(MSG_CTRUNC) X(MSG_WAITALL) \
    X(MSG_DONTWAIT)

#define OPEN_FLAGS(X) \
    X(O_WRONLY) X(O_RDWR) X(O_CREAT) X(O_EXCL) X(O_TRUNC) X(O_APPEND) X(O_NONBLOCK) X(O_CLOEXEC)

#define MAP_FLAGS(X) X(MAP_SHARED) X(MAP_PRIVATE) X(MAP_FIXED) X(MAP_ANON) X(MAP_NORESERVE)

#define FCNTL_COMMANDS(X) X(F_DUPFD) X(F_GETFD) X(F_SETFD) X(F_GETFL) X(F_SETFL) X(F_DUPFD_CLOEXEC)

#define CLOCKS(X) X(CLOCK_REALTIME) X(CLOCK_MONOTONIC) X(CLOCK_PROCESS_CPUTIME_ID)

#define SYSTEM_NUMBERS(X) X(_SC_PAGESIZE) X(_SC_OPEN_MAX) X(_SC_NPROCESSORS_ONLN)

#define LIMITS(X) X(RLIMIT_NOFILE) X(RLIMIT_AS) X(RLIMIT_STACK) X(RLIMIT_CORE) X(RLIMIT_DATA)

#define MASK_CHANGES(X) X(SIG_BLOCK) X(SIG_UNBLOCK) X(SIG_SETMASK)

#define LOOKUP_ERRORS(X)                                                               \
    X(EAI_AGAIN) X(EAI_BADFLAGS) X(EAI_FAIL) X(EAI_FAMILY) X(EAI_MEMORY) X(EAI_NONAME) \
    X(EAI_SERVICE) X(EAI_SOCKTYPE) X(EAI_SYSTEM)

#define LOOKUP_FLAGS(X) \
    X(AI_PASSIVE) X(AI_CANONNAME) X(AI_NUMERICHOST) X(AI_NUMERICSERV) X(AI_ADDRCONFIG)

/* Level and name in one number. */
enum { OPTION_STEP = 0x4000 };
#define OPTION(level, name) ((level)*OPTION_STEP + (name))
#define OPTIONS(X)                                                                          \
    X(OPTION(SOL_SOCKET, SO_REUSEADDR)) X(OPTION(SOL_SOCKET, SO_REUSEPORT))                 \
    X(OPTION(SOL_SOCKET, SO_KEEPALIVE)) X(OPTION(SOL_SOCKET, SO_BROADCAST))                 \
    X(OPTION(SOL_SOCKET, SO_LINGER)) X(OPTION(SOL_SOCKET, SO_SNDBUF))                       \
    X(OPTION(SOL_SOCKET, SO_RCVBUF)) X(OPTION(SOL_SOCKET, SO_ERROR))                        \
    X(OPTION(SOL_SOCKET, SO_TYPE)) X(OPTION(SOL_SOCKET, SO_RCVTIMEO))                       \
    X(OPTION(SOL_SOCKET, SO_SNDTIMEO)) X(OPTION(SOL_SOCKET, SO_ACCEPTCONN))                 \
    X(OPTION(IPPROTO_TCP, TCP_NODELAY)) X(OPTION(IPPROTO_TCP, TCP_MAXSEG))                  \
    X(OPTION(IPPROTO_TCP, TCP_KEEPALIVE)) X(OPTION(IPPROTO_TCP, TCP_KEEPINTVL))             \
    X(OPTION(IPPROTO_TCP, TCP_KEEPCNT)) X(OPTION(IPPROTO_IP, IP_TOS))                       \
    X(OPTION(IPPROTO_IP, IP_TTL)) X(OPTION(IPPROTO_IP, IP_MULTICAST_IF))                    \
    X(OPTION(IPPROTO_IP, IP_MULTICAST_TTL)) X(OPTION(IPPROTO_IP, IP_MULTICAST_LOOP))        \
    X(OPTION(IPPROTO_IP, IP_ADD_MEMBERSHIP)) X(OPTION(IPPROTO_IP, IP_DROP_MEMBERSHIP))      \
    X(OPTION(IPPROTO_IP, MCAST_JOIN_GROUP)) X(OPTION(IPPROTO_IP, MCAST_LEAVE_GROUP))        \
    X(OPTION(IPPROTO_IPV6, IPV6_V6ONLY)) X(OPTION(IPPROTO_IPV6, IPV6_UNICAST_HOPS))         \
    X(OPTION(IPPROTO_IPV6, IPV6_MULTICAST_IF)) X(OPTION(IPPROTO_IPV6, IPV6_MULTICAST_HOPS)) \
    X(OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP)) X(OPTION(IPPROTO_IPV6, IPV6_TCLASS))       \
    X(OPTION(IPPROTO_IPV6, MCAST_JOIN_GROUP)) X(OPTION(IPPROTO_IPV6, MCAST_LEAVE_GROUP))

#define TABLES(X)                                                                               \
    X(errors, ERRORS) X(signals, SIGNALS) X(families, FAMILIES) X(message_flags, MESSAGE_FLAGS) \
    X(open_flags, OPEN_FLAGS) X(map_flags, MAP_FLAGS) X(fcntl_commands, FCNTL_COMMANDS)         \
    X(clocks, CLOCKS) X(system_numbers, SYSTEM_NUMBERS) X(limits, LIMITS)                       \
    X(mask_changes, MASK_CHANGES) X(lookup_errors, LOOKUP_ERRORS) X(lookup_flags, LOOKUP_FLAGS) \
    X(options, OPTIONS)

#define NUMBER(name) name,
// clang-format on

/* What linux.c does for apple.c, in types that both know. */
typedef struct linux_file {
    unsigned long long device, inode, size;
    unsigned mode;
} linux_file;

int linux_stat(const char *path, int handle, int follow, linux_file *file); /* of path, or handle */
int linux_peer(int handle, int *process, unsigned *user, unsigned *group);
int linux_sigaction(int number, void (*handler)(int), void (**former)(int));
int linux_sigmask(int how, const unsigned *set, unsigned *former); /* bits as macOS has them */
int linux_is_ipv6(int handle);
int linux_unsent(int handle, int *bytes);
int linux_join(int handle, int level, int name, unsigned interface, const void *group);
int linux_dup_flags(int handle); /* O_NONBLOCK, or 0 */
void linux_nonblock(int handle);
