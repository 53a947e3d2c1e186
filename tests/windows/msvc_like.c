/* msvc_like.c - the header as Microsoft's compiler sees it, without that compiler: the system's
   headers first, as they are; then every sign of GNU's compilers is taken away. */
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>
#include <assert.h>
#include <errno.h>
#include <io.h>
#include <limits.h>
#include <process.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#undef __GNUC__
#undef __GNUC_MINOR__
#undef __MINGW32__
#undef __MINGW64__
#undef __clang__
#undef __has_attribute
#undef __has_feature
#undef __has_builtin
#undef __has_include
#define _MSC_VER 1930
#define ssize_t  msvc_ssize_t /* which has none */
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"
