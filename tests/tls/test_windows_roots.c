/* test_windows_roots.c - which certificates of Windows' ROOT store are roots for servers. Elsewhere there
   is nothing to test. */
#include "../test.h"

#ifndef _WIN32

int main(void)
{
    skip_all("Windows' own");
}

#else

#include <winsock2.h>
#include <windows.h>
#include <wincrypt.h>
#define CertOpenSystemStoreW(provider, name) store_of(name)
static HCERTSTORE store_of(const wchar_t *name);
#include "private_tls.h"

enum { ALL, SERVERS, STAMPS, NONE, DISALLOWED } what; /* the one root is for */

static HCERTSTORE store_of(const wchar_t *name)
{
    static char server[] = szOID_PKIX_KP_SERVER_AUTH, stamp[] = szOID_PKIX_KP_TIMESTAMP_SIGNING;
    HCERTSTORE store =
        CertOpenStore(CERT_STORE_PROV_MEMORY, 0, 0, CERT_STORE_CREATE_NEW_FLAG, NULL);
    char *oids[] = {stamp, server};
    CERT_ENHKEY_USAGE usage = {what == NONE ? 0 : what == STAMPS ? 1 : 2, oids};
    PCCERT_CONTEXT certificate;
    size_t size;
    uint8_t *chain = read_whole(CERTIFICATES "root_as_leaf.chain", &size);

    if ((wcscmp(name, L"ROOT") == 0 || what == DISALLOWED) &&
        CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, chain + 4, (DWORD)size - 4,
                                         CERT_STORE_ADD_ALWAYS, &certificate)) {
        if (what == SERVERS || what == STAMPS || what == NONE)
            CertSetEnhancedKeyUsage(certificate, &usage);
        CertFreeCertificateContext(certificate);
    }
    free(chain);
    return store;
}

static void look(int root, int expected, const char *text)
{
    asocket_tls_trust *trust = asocket_tls_trust_create();

    what = root;
    is_int(asocket__tls_system_roots(trust) > 0, expected, "P15: %s", text);
    is_int(asocket_tls_trust_count(trust), expected, "... and kept, or not");
    asocket_tls_trust_release(trust);
}

int main(void)
{
    look(ALL, 1, "a root without a word on what it is for is trusted");
    look(SERVERS, 1, "one that is for servers, too");
    look(STAMPS, 0, "not one for time stamps alone");
    look(NONE, 0, "nor one for nothing");
    look(DISALLOWED, 0, "nor one that is disallowed");
    return done_testing();
}

#endif
