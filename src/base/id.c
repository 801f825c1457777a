/* SPDX-License-Identifier: Apache-2.0 */

/* id: random identifiers from the kernel's generator. */

#include "base/id.h"

#include "base/str.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <sys/random.h>

static void fill(unsigned char *bytes, size_t len)
{
    ssize_t n = getrandom(bytes, len, 0);

    assert(n == (ssize_t)len); /* Never short for up to 256 bytes. */
    (void)n;
}

void id_uuid(char *ret)
{
    unsigned char b[16];

    fill(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(ret, ID_UUID_SIZE,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

void id_token(char *ret)
{
    unsigned char b[16];

    fill(b, sizeof b);
    str_hex(b, sizeof b, ret);
}

bool id_is_uuid(const char *s)
{
    for (int i = 0; i < ID_UUID_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i])) {
            return false;
        }
    }
    return s[ID_UUID_SIZE - 1] == 0;
}
