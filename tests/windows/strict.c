/* strict.c - see strict.h. */
#include <stdbool.h>

#include "strict.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SOCKETS = 8192, OPERATIONS = 16384, HELD = 64 };
enum { READ, WRITE };

typedef struct strict_facts { /* of a socket */
    SOCKET socket;            /* 0: none here */
    int pending[2];           /* operations that were not dequeued */
    unsigned generation;      /* of the number */
    bool raw;                 /* came from AcceptEx or ConnectEx, its context was not updated */
    bool cancelled, nonblocking, quiet, hasty, datagrams;
    bool local;    /* a Unix socket */
    DWORD process; /* its peer's; 0: ours */
    char path[108], remote[108];
} strict_facts;

typedef struct strict_operation {
    OVERLAPPED *overlapped; /* NULL: none here */
    SOCKET socket;
    unsigned generation;
    int side;
    const char *bytes;
    ULONG size;
    uint32_t sum;
} strict_operation;

volatile LONG strict_faults, strict_sockets, strict_duplicates;

static strict_facts facts[SOCKETS];
static strict_operation operations[OPERATIONS];
static int operation_count; /* places in use, with gaps */
static SRWLOCK lock = SRWLOCK_INIT;
static LPFN_ACCEPTEX accept_ex;
static LPFN_CONNECTEX connect_ex;

static void fault(const char *what)
{
    InterlockedIncrement(&strict_faults);
    fprintf(stderr, "# Windows: %s\n", what);
}

/* With the lock held. A place for a socket; it is kept until closesocket. */
static strict_facts *facts_of(SOCKET socket)
{
    size_t at = socket / 4 % SOCKETS, i;

    for (i = 0; i < SOCKETS; i++, at = (at + 1) % SOCKETS)
        if (facts[at].socket == socket || !facts[at].socket)
            break;
    if (facts[at].socket != socket)
        memset(&facts[at], 0, sizeof facts[at]);
    facts[at].socket = socket;
    return &facts[at];
}

/* A place for the next socket of the same number; others may lie behind it. */
static void facts_forget(SOCKET socket)
{
    strict_facts *f = facts_of(socket);
    unsigned generation = f->generation + 1;

    memset(f, 0, sizeof *f);
    f->socket = socket;
    f->generation = generation;
}

static uint32_t sum_of(const char *bytes, ULONG size)
{
    uint32_t sum = 5381;
    ULONG i;

    for (i = 0; i < size; i++)
        sum = sum * 33 + (unsigned char)bytes[i];
    return sum;
}

static void begun(OVERLAPPED *overlapped, SOCKET socket, int side, const char *bytes, ULONG size)
{
    int i, at = -1;

    AcquireSRWLockExclusive(&lock);
    for (i = 0; i < operation_count; i++) {
        if (operations[i].overlapped == overlapped)
            fault("an OVERLAPPED is used again before its packet was dequeued");
        if (!operations[i].overlapped && at < 0)
            at = i;
    }
    if (at < 0)
        at = operation_count++;
    operations[at].overlapped = overlapped;
    operations[at].socket = socket;
    operations[at].generation = facts_of(socket)->generation;
    operations[at].side = side;
    operations[at].bytes = bytes;
    operations[at].size = size;
    operations[at].sum = sum_of(bytes, size);
    facts_of(socket)->pending[side]++;
    ReleaseSRWLockExclusive(&lock);
}

static void dequeued(const OVERLAPPED *overlapped)
{
    int i;

    AcquireSRWLockExclusive(&lock);
    for (i = 0; i < operation_count; i++)
        if (overlapped && operations[i].overlapped == overlapped) {
            if (facts_of(operations[i].socket)->generation == operations[i].generation)
                facts_of(operations[i].socket)->pending[operations[i].side]--;
            if (sum_of(operations[i].bytes, operations[i].size) != operations[i].sum)
                fault("bytes were changed while the kernel was sending them");
            operations[i].overlapped = NULL;
        }
    while (operation_count && !operations[operation_count - 1].overlapped)
        operation_count--;
    ReleaseSRWLockExclusive(&lock);
}

void strict_freed(const void *block, size_t size)
{
    const char *low = (const char *)block;
    int i;

    AcquireSRWLockExclusive(&lock);
    for (i = 0; i < operation_count; i++) {
        const char *at = (const char *)operations[i].overlapped;

        if (at && at >= low && at < low + size)
            fault("memory of an operation is freed before its packet was dequeued");
    }
    ReleaseSRWLockExclusive(&lock);
}

bool strict_blocks(SOCKET socket)
{
    bool blocks;

    AcquireSRWLockExclusive(&lock);
    blocks = !facts_of(socket)->nonblocking;
    ReleaseSRWLockExclusive(&lock);
    return blocks;
}

static bool is_raw(SOCKET socket, const char *what)
{
    bool raw;

    AcquireSRWLockExclusive(&lock);
    raw = facts_of(socket)->raw;
    ReleaseSRWLockExclusive(&lock);
    if (raw) {
        fault(what);
        WSASetLastError(WSAENOTCONN);
    }
    return raw;
}

static void set_raw(SOCKET socket, bool raw)
{
    AcquireSRWLockExclusive(&lock);
    facts_of(socket)->raw = raw;
    ReleaseSRWLockExclusive(&lock);
}

/* --- Unix sockets ---------------------------------------------------------------------------- */

/* Wine 8 has none: one is a TCP socket of loopback here, and the file at its path holds the port
   and the process. Who connects knows that one; who accepts takes the other end for its own. */
enum { PEER_PROCESS = 0x58000100 /* SIO_AF_UNIX_GETPEERPID */, LOCAL = 0x756e6978 };

typedef struct local_name {
    USHORT family;
    char path[109];
} local_name;

typedef struct local_file {
    DWORD process;
    USHORT port;
} local_file;

static bool is_local(SOCKET socket)
{
    bool local;

    AcquireSRWLockExclusive(&lock);
    local = facts_of(socket)->local;
    ReleaseSRWLockExclusive(&lock);
    return local;
}

/* From now on it is one; NULL: the name stays. */
static void set_local(SOCKET socket, const char *path, const char *remote)
{
    AcquireSRWLockExclusive(&lock);
    facts_of(socket)->local = true;
    if (path)
        snprintf(facts_of(socket)->path, sizeof facts_of(socket)->path, "%s", path);
    if (remote)
        snprintf(facts_of(socket)->remote, sizeof facts_of(socket)->remote, "%s", remote);
    ReleaseSRWLockExclusive(&lock);
}

static int give_name(const char *path, struct sockaddr *name, int *size)
{
    local_name local;
    int length = path[0] ? (int)(sizeof local.family + strlen(path) + 1) : (int)sizeof local.family;

    memset(&local, 0, sizeof local);
    local.family = AF_UNIX;
    snprintf(local.path, sizeof local.path, "%s", path);
    if (name)
        memcpy(name, &local, (size_t)(*size < length ? *size : length));
    if (size)
        *size = length;
    return 0;
}

static local_name taken_name(const struct sockaddr *name, int size)
{
    local_name local;

    memset(&local, 0, sizeof local);
    memcpy(&local, name, (size_t)size < sizeof local - 1 ? (size_t)size : sizeof local - 1);
    return local;
}

static struct sockaddr_in loopback(void)
{
    struct sockaddr_in at;

    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

int strict_bind(SOCKET socket, const struct sockaddr *name, int size)
{
    struct sockaddr_in at = loopback();
    int length = sizeof at, result;
    local_file content = {GetCurrentProcessId(), 0};
    local_name local;
    HANDLE file;
    DWORD count;

    if (name->sa_family != AF_UNIX)
        return bind(socket, name, size);
    local = taken_name(name, size);
    file = CreateFileA(local.path, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        WSASetLastError(GetLastError() == ERROR_FILE_EXISTS ? WSAEADDRINUSE : WSAEACCES);
        return SOCKET_ERROR;
    }
    result = bind(socket, (struct sockaddr *)&at, sizeof at) ||
             getsockname(socket, (struct sockaddr *)&at, &length);
    content.port = at.sin_port;
    WriteFile(file, &content, sizeof content, &count, NULL);
    CloseHandle(file);
    set_local(socket, local.path, NULL);
    return result ? SOCKET_ERROR : 0;
}

/* Is over at once, as with Unix sockets; nobody there is a refusal. */
static int connect_local(SOCKET socket, const struct sockaddr *name, int size)
{
    DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, count = 0;
    local_name local = taken_name(name, size);
    HANDLE file = CreateFileA(local.path, GENERIC_READ, share, NULL, OPEN_EXISTING, 0, NULL);
    struct sockaddr_in at = loopback();
    u_long off = 0, on = !strict_blocks(socket);
    local_file content = {0, 0};
    int result;

    if (file != INVALID_HANDLE_VALUE) {
        ReadFile(file, &content, sizeof content, &count, NULL);
        CloseHandle(file);
    }
    if (count != sizeof content) {
        WSASetLastError(WSAECONNREFUSED);
        return SOCKET_ERROR;
    }
    at.sin_port = content.port;
    ioctlsocket(socket, (long)FIONBIO, &off);
    result = connect(socket, (struct sockaddr *)&at, sizeof at);
    count = (DWORD)WSAGetLastError();
    ioctlsocket(socket, (long)FIONBIO, &on);
    set_local(socket, NULL, local.path);
    facts_of(socket)->process = content.process;
    WSASetLastError((int)count);
    return result;
}

/* Unix sockets hold little. */
static void make_local(SOCKET socket)
{
    int size = 65536;

    setsockopt(socket, SOL_SOCKET, SO_RCVBUF, (const char *)&size, sizeof size);
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, (const char *)&size, sizeof size);
    set_local(socket, "", "");
}

int strict_getsockname(SOCKET socket, struct sockaddr *name, int *size)
{
    return is_local(socket) ? give_name(facts_of(socket)->path, name, size)
                            : getsockname(socket, name, size);
}

/* The mark of a Unix socket goes with its duplicate. */
int strict_WSADuplicateSocketW(SOCKET socket, DWORD process, WSAPROTOCOL_INFOW *info)
{
    int result = WSADuplicateSocketW(socket, process, info);

    if (!result)
        InterlockedIncrement(&strict_duplicates);
    if (!result && is_local(socket))
        info->dwProviderReserved = LOCAL;
    return result;
}

/* --- calls that end at once ------------------------------------------------------------------ */

/* After a reset Wine 8 answers 0 for ever, Windows WSAECONNRESET; poll knows the difference. */
static int told_apart(SOCKET socket, int count, int size, int flags)
{
    WSAPOLLFD entry;
    bool datagrams;

    if (count || !size || (flags & MSG_PEEK))
        return count;
    AcquireSRWLockExclusive(&lock);
    datagrams = facts_of(socket)->datagrams;
    ReleaseSRWLockExclusive(&lock);
    entry.fd = socket;
    entry.events = POLLIN;
    entry.revents = 0;
    if (datagrams || WSAPoll(&entry, 1, 0) <= 0 || !(entry.revents & POLLERR))
        return 0;
    WSASetLastError(WSAECONNRESET);
    return SOCKET_ERROR;
}

/* To Wine SIO_UDP_CONNRESET is nothing: who switched it off hears no refusals here either. */
static bool unheard(SOCKET socket, int count)
{
    int error = WSAGetLastError();
    bool quiet;

    if (count >= 0 || (error != WSAECONNREFUSED && error != WSAECONNRESET))
        return false;
    AcquireSRWLockExclusive(&lock);
    quiet = facts_of(socket)->datagrams && facts_of(socket)->quiet;
    ReleaseSRWLockExclusive(&lock);
    WSASetLastError(error);
    return quiet;
}

int strict_recv(SOCKET socket, char *buffer, int size, int flags)
{
    int count = recv(socket, buffer, size, flags);

    while (unheard(socket, count))
        count = recv(socket, buffer, size, flags);
    return told_apart(socket, count, size, flags);
}

int strict_send(SOCKET socket, const char *bytes, int size, int flags)
{
    int count = send(socket, bytes, size, flags);

    return unheard(socket, count) ? send(socket, bytes, size, flags) : count;
}

/* A datagram that met a closed port comes back as WSAECONNRESET of some later receive. */
int strict_recvfrom(SOCKET socket, char *buffer, int size, int flags, struct sockaddr *from,
                    int *length)
{
    bool loud;
    int count;

    AcquireSRWLockExclusive(&lock);
    loud = facts_of(socket)->datagrams && !facts_of(socket)->quiet;
    facts_of(socket)->quiet = true; /* once is enough */
    ReleaseSRWLockExclusive(&lock);
    if (loud) {
        fault("SIO_UDP_CONNRESET is on: a receive fails for what another one's port answered");
        WSASetLastError(WSAECONNRESET);
        return SOCKET_ERROR;
    }
    do
        count = recvfrom(socket, buffer, size, flags, from, length);
    while (unheard(socket, count));
    return count;
}

int strict_getpeername(SOCKET socket, struct sockaddr *name, int *size)
{
    if (is_raw(socket, "getpeername before SO_UPDATE_..._CONTEXT"))
        return SOCKET_ERROR;
    if (!is_local(socket) || getpeername(socket, name, size))
        return getpeername(socket, name, size);
    return give_name(facts_of(socket)->remote, name, size);
}

int strict_shutdown(SOCKET socket, int how)
{
    bool sending;

    if (is_raw(socket, "shutdown before SO_UPDATE_..._CONTEXT"))
        return SOCKET_ERROR;
    AcquireSRWLockExclusive(&lock);
    sending = how != SD_RECEIVE && facts_of(socket)->pending[WRITE];
    ReleaseSRWLockExclusive(&lock);
    if (sending)
        fault("shutdown while the kernel is still sending");
    return shutdown(socket, how);
}

int strict_setsockopt(SOCKET socket, int level, int name, const char *value, int size)
{
    bool datagrams;

    if (level == SOL_SOCKET &&
        (name == SO_UPDATE_ACCEPT_CONTEXT || name == SO_UPDATE_CONNECT_CONTEXT)) {
        set_raw(socket, false);
        if (name == SO_UPDATE_ACCEPT_CONTEXT && size != sizeof(SOCKET))
            fault("SO_UPDATE_ACCEPT_CONTEXT wants the listening socket");
    }
    AcquireSRWLockExclusive(&lock);
    datagrams = facts_of(socket)->datagrams;
    ReleaseSRWLockExclusive(&lock);
    if (level == SOL_SOCKET && name == SO_REUSEADDR && *(const int *)(const void *)value &&
        !datagrams)
        fault("SO_REUSEADDR lets others take the port");
    return setsockopt(socket, level, name, value, size);
}

static bool goes_nowhere(const struct sockaddr *name)
{
    static const struct in6_addr none;

    if (name->sa_family == AF_INET6)
        return !memcmp(&((const struct sockaddr_in6 *)(const void *)name)->sin6_addr, &none,
                       sizeof none);
    return name->sa_family == AF_INET &&
           !((const struct sockaddr_in *)(const void *)name)->sin_addr.s_addr;
}

int strict_connect(SOCKET socket, const struct sockaddr *name, int size)
{
    if (name->sa_family == AF_UNIX)
        return connect_local(socket, name, size);
    if (!goes_nowhere(name))
        return connect(socket, name, size);
    fault("connect to the unspecified address");
    WSASetLastError(WSAEADDRNOTAVAIL);
    return SOCKET_ERROR;
}

void strict_made(SOCKET socket, bool datagrams)
{
    if (socket == INVALID_SOCKET)
        return;
    InterlockedIncrement(&strict_sockets);
    AcquireSRWLockExclusive(&lock);
    facts_forget(socket);
    facts_of(socket)->datagrams = datagrams;
    ReleaseSRWLockExclusive(&lock);
}

SOCKET strict_socket(int domain, int type, int protocol, WSAPROTOCOL_INFOW *info, GROUP group,
                     DWORD flags)
{
    bool local = domain == AF_UNIX && type == SOCK_STREAM;
    SOCKET socket = WSASocketW(local ? AF_INET : domain, type, protocol, info, group, flags);
    int error = WSAGetLastError();

    if (!(flags & WSA_FLAG_OVERLAPPED))
        fault("a socket without WSA_FLAG_OVERLAPPED belongs to no port");
    if (socket != INVALID_SOCKET && info)
        InterlockedDecrement(&strict_duplicates);
    strict_made(socket, info ? info->iSocketType == SOCK_DGRAM : type == SOCK_DGRAM);
    if (socket != INVALID_SOCKET && (local || (info && info->dwProviderReserved == LOCAL)))
        make_local(socket);
    WSASetLastError(error);
    return socket;
}

SOCKET strict_accept(SOCKET listener, struct sockaddr *name, int *size)
{
    SOCKET socket = accept(listener, name, size);
    int error = WSAGetLastError();

    strict_made(socket, false);
    if (socket != INVALID_SOCKET && is_local(listener)) {
        set_local(socket, facts_of(listener)->path, "");
        give_name("", name, size);
    }
    WSASetLastError(error);
    return socket;
}

/* What pends must have been cancelled: else the peer gets a reset, or what is sent is lost. */
int strict_closesocket(SOCKET socket)
{
    static const struct linger hard = {1, 0};
    strict_facts before;
    int result;

    AcquireSRWLockExclusive(&lock);
    before = *facts_of(socket);
    ReleaseSRWLockExclusive(&lock);
    if (before.pending[READ] && !before.cancelled) {
        fault("closesocket with a pending read that was not cancelled resets the connection");
        setsockopt(socket, SOL_SOCKET, SO_LINGER, (const char *)&hard, sizeof hard);
    }
    if (before.pending[WRITE] && !before.cancelled)
        fault("closesocket while the kernel is sending loses the rest");
    result = closesocket(socket);
    if (!result) {
        InterlockedDecrement(&strict_sockets);
        AcquireSRWLockExclusive(&lock);
        facts_of(socket)->cancelled = facts_of(socket)->raw = false;
        ReleaseSRWLockExclusive(&lock);
    }
    return result;
}

int strict_ioctlsocket(SOCKET socket, long command, u_long *value)
{
    AcquireSRWLockExclusive(&lock);
    if (command == (long)FIONBIO)
        facts_of(socket)->nonblocking = *value != 0;
    ReleaseSRWLockExclusive(&lock);
    return ioctlsocket(socket, command, value);
}

/* --- operations ------------------------------------------------------------------------------ */

int strict_WSARecv(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags,
                   OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    int result, error;

    result = WSARecv(socket, buffers, count, received, flags, overlapped, routine);
    error = WSAGetLastError();
    if (!result || error == WSA_IO_PENDING)
        begun(overlapped, socket, READ, NULL, 0);
    WSASetLastError(error);
    return result;
}

int strict_WSASend(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags,
                   OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    int result, error;

    if (!buffers->len)
        fault("a send of no bytes ends at once, whether there is room or not");
    result = WSASend(socket, buffers, count, sent, flags, overlapped, routine);
    error = WSAGetLastError();
    if (!result || error == WSA_IO_PENDING)
        begun(overlapped, socket, WRITE, buffers->buf, buffers->len);
    WSASetLastError(error);
    return result;
}

BOOL strict_CancelIoEx(HANDLE socket, OVERLAPPED *overlapped)
{
    AcquireSRWLockExclusive(&lock);
    facts_of((SOCKET)socket)->cancelled = true;
    ReleaseSRWLockExclusive(&lock);
    return CancelIoEx(socket, overlapped);
}

static BOOL PASCAL strict_AcceptEx(SOCKET listener, SOCKET socket, void *bytes, DWORD size,
                                   DWORD local, DWORD remote, DWORD *count, OVERLAPPED *overlapped)
{
    BOOL result = accept_ex(listener, socket, bytes, size, local, remote, count, overlapped);
    int error = WSAGetLastError();

    if (result || error == WSA_IO_PENDING) {
        set_raw(socket, true);
        begun(overlapped, listener, READ, NULL, 0);
    }
    WSASetLastError(error);
    return result;
}

static BOOL PASCAL strict_ConnectEx(SOCKET socket, const struct sockaddr *name, int size,
                                    void *bytes, DWORD length, DWORD *count, OVERLAPPED *overlapped)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)name;
    bool hasty;
    BOOL result;
    int error;

    if (goes_nowhere(name)) {
        fault("ConnectEx to the unspecified address");
        WSASetLastError(WSAEADDRNOTAVAIL);
        return FALSE;
    }
    AcquireSRWLockExclusive(&lock);
    hasty = facts_of(socket)->hasty;
    ReleaseSRWLockExclusive(&lock);
    if (name->sa_family == AF_INET && ntohl(four->sin_addr.s_addr) >> 24 == 127 && !hasty)
        fault("a refusal on this machine takes two seconds without SIO_TCP_INITIAL_RTO");
    result = connect_ex(socket, name, size, bytes, length, count, overlapped);
    error = WSAGetLastError();
    if (result || error == WSA_IO_PENDING) {
        set_raw(socket, true);
        begun(overlapped, socket, WRITE, NULL, 0);
    }
    WSASetLastError(error);
    return result;
}

static void take_over(const GUID *name, void *function)
{
    static const GUID accept = WSAID_ACCEPTEX, connect = WSAID_CONNECTEX;

    if (!memcmp(name, &accept, sizeof accept)) {
        accept_ex = *(LPFN_ACCEPTEX *)function;
        *(LPFN_ACCEPTEX *)function = strict_AcceptEx;
    }
    if (!memcmp(name, &connect, sizeof connect)) {
        connect_ex = *(LPFN_CONNECTEX *)function;
        *(LPFN_CONNECTEX *)function = strict_ConnectEx;
    }
}

int strict_WSAIoctl(SOCKET socket, DWORD code, void *in, DWORD in_size, void *out, DWORD out_size,
                    DWORD *count, OVERLAPPED *overlapped,
                    LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    int result;

    if (code == PEER_PROCESS && is_local(socket)) {
        result = (int)facts_of(socket)->process;
        *(DWORD *)out = result ? (DWORD)result : GetCurrentProcessId();
        return 0;
    }
    result = WSAIoctl(socket, code, in, in_size, out, out_size, count, overlapped, routine);
    AcquireSRWLockExclusive(&lock);
    if (code == _WSAIOW(IOC_VENDOR, 12)) /* SIO_UDP_CONNRESET */
        facts_of(socket)->quiet = !*(const BOOL *)in;
    if (code == _WSAIOW(IOC_VENDOR, 17)) /* SIO_TCP_INITIAL_RTO */
        facts_of(socket)->hasty = true;
    ReleaseSRWLockExclusive(&lock);
    if (!result && code == SIO_GET_EXTENSION_FUNCTION_POINTER)
        take_over((const GUID *)in, out);
    return result;
}

/* Now and then a wait ends early, and the last packets come a call later: as they may. */
BOOL strict_GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries, ULONG capacity,
                                        ULONG *count, DWORD timeout, BOOL alertable)
{
    static struct {
        HANDLE port;
        OVERLAPPED_ENTRY entry;
    } held[HELD];
    static unsigned calls;
    BOOL result;
    ULONG i;
    int k;

    AcquireSRWLockExclusive(&lock);
    calls++;
    for (k = 0, *count = 0; k < HELD && *count < capacity; k++)
        if (held[k].port == port && held[k].port) {
            entries[(*count)++] = held[k].entry;
            held[k].port = NULL;
        }
    ReleaseSRWLockExclusive(&lock);
    if (*count) {
        for (i = 0; i < *count; i++)
            dequeued(entries[i].lpOverlapped);
        return TRUE;
    }
    if (calls % 16 == 0 && timeout > 2 && timeout != INFINITE)
        timeout -= 2;
    result = GetQueuedCompletionStatusEx(port, entries, capacity, count, timeout, alertable);
    AcquireSRWLockExclusive(&lock);
    for (k = 0; result && *count > 1 && calls % 4 == 0 && k < HELD; k++)
        if (!held[k].port) {
            held[k].port = port;
            held[k].entry = entries[--*count];
        }
    ReleaseSRWLockExclusive(&lock);
    for (i = 0; result && i < *count; i++)
        dequeued(entries[i].lpOverlapped);
    return result;
}
