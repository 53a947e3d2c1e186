/* strict.h - Wine forgives what Windows does not. These functions stand between the library and
   Winsock, note each call that Windows would refuse or punish (test_end looks at them), and let it
   have the effect that it has there. They also hold packets of the completion port back, end waits
   early, and tell a reset from an end of the stream, which Wine 8 does not. Unix sockets, which it
   does not have, are connections of loopback here. */
#ifndef TESTS_WINDOWS_STRICT_H
#define TESTS_WINDOWS_STRICT_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>

#ifdef __cplusplus
extern "C" {
#endif

extern volatile LONG strict_faults;     /* noted so far; each has been printed */
extern volatile LONG strict_sockets;    /* open, the library's and the tests' own */
extern volatile LONG strict_duplicates; /* made by WSADuplicateSocketW, not taken yet */

int strict_recv(SOCKET socket, char *buffer, int size, int flags);
int strict_send(SOCKET socket, const char *bytes, int size, int flags);
int strict_recvfrom(SOCKET socket, char *buffer, int size, int flags, struct sockaddr *from,
                    int *length);
int strict_getpeername(SOCKET socket, struct sockaddr *name, int *size);
int strict_shutdown(SOCKET socket, int how);
int strict_setsockopt(SOCKET socket, int level, int name, const char *value, int size);
int strict_bind(SOCKET socket, const struct sockaddr *name, int size);
int strict_getsockname(SOCKET socket, struct sockaddr *name, int *size);
int strict_WSADuplicateSocketW(SOCKET socket, DWORD process, WSAPROTOCOL_INFOW *info);
int strict_connect(SOCKET socket, const struct sockaddr *name, int size);
int strict_closesocket(SOCKET socket);
int strict_ioctlsocket(SOCKET socket, long command, u_long *value);
SOCKET strict_socket(int domain, int type, int protocol, WSAPROTOCOL_INFOW *info, GROUP group,
                     DWORD flags);
SOCKET strict_accept(SOCKET listener, struct sockaddr *name, int *size);
int strict_WSARecv(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags,
                   OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
int strict_WSASend(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags,
                   OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
int strict_WSAIoctl(SOCKET socket, DWORD code, void *in, DWORD in_size, void *out, DWORD out_size,
                    DWORD *count, OVERLAPPED *overlapped,
                    LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
BOOL strict_CancelIoEx(HANDLE socket, OVERLAPPED *overlapped);
BOOL strict_GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries, ULONG capacity,
                                        ULONG *count, DWORD timeout, BOOL alertable);
void strict_made(SOCKET socket, bool datagrams);   /* by whomever */
void strict_freed(const void *block, size_t size); /* before memory is given back */
bool strict_blocks(SOCKET socket);                 /* false: it was made non-blocking */

#ifdef __cplusplus
}
#endif

#define STRICT_recv                        , strict_recv
#define STRICT_send                        , strict_send
#define STRICT_recvfrom                    , strict_recvfrom
#define STRICT_getpeername                 , strict_getpeername
#define STRICT_shutdown                    , strict_shutdown
#define STRICT_setsockopt                  , strict_setsockopt
#define STRICT_bind                        , strict_bind
#define STRICT_getsockname                 , strict_getsockname
#define STRICT_WSADuplicateSocketW         , strict_WSADuplicateSocketW
#define STRICT_connect                     , strict_connect
#define STRICT_closesocket                 , strict_closesocket
#define STRICT_ioctlsocket                 , strict_ioctlsocket
#define STRICT_WSASocketW                  , strict_socket
#define STRICT_accept                      , strict_accept
#define STRICT_WSARecv                     , strict_WSARecv
#define STRICT_WSASend                     , strict_WSASend
#define STRICT_WSAIoctl                    , strict_WSAIoctl
#define STRICT_CancelIoEx                  , strict_CancelIoEx
#define STRICT_GetQueuedCompletionStatusEx , strict_GetQueuedCompletionStatusEx

#define STRICT_SECOND_OF(a, b, ...) b
#define STRICT_SECOND(...)          STRICT_SECOND_OF(__VA_ARGS__)
#define STRICT_CHOOSE(mine, own)    STRICT_SECOND(mine, own, own)
#define STRICTLY(name)              STRICT_CHOOSE(STRICT_##name, name)

#endif
