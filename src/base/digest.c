/* SPDX-License-Identifier: Apache-2.0 */

/* digest: hashes and their texts, by nettle. */

#include "base/digest.h"

#include "base/str.h"

#include <nettle/base64.h>
#include <nettle/memops.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <string.h>

void digest_sha256_hex(const void *bytes, size_t len, char *ret)
{
    struct sha256_ctx ctx;
    uint8_t sum[SHA256_DIGEST_SIZE];

    sha256_init(&ctx);
    sha256_update(&ctx, len, bytes);
    sha256_digest(&ctx, sizeof sum, sum);
    str_hex(sum, sizeof sum, ret);
}

void digest_sha1_base64(const void *bytes, size_t len, char *ret)
{
    struct sha1_ctx ctx;
    uint8_t sum[SHA1_DIGEST_SIZE];

    sha1_init(&ctx);
    sha1_update(&ctx, len, bytes);
    sha1_digest(&ctx, sizeof sum, sum);
    base64_encode_raw(ret, sizeof sum, sum);
    ret[DIGEST_SHA1_BASE64 - 1] = 0;
}

bool digest_equal_secret(const char *a, const char *b)
{
    struct sha256_ctx ctx;
    uint8_t sums[2][SHA256_DIGEST_SIZE];
    const char *texts[2] = { a, b };

    /* Hashing first hides the lengths too. */
    for (int i = 0; i < 2; i++) {
        sha256_init(&ctx);
        sha256_update(&ctx, strlen(texts[i]), (const uint8_t *)texts[i]);
        sha256_digest(&ctx, SHA256_DIGEST_SIZE, sums[i]);
    }
    return memeql_sec(sums[0], sums[1], SHA256_DIGEST_SIZE) != 0;
}
