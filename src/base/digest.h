/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SHA256_HEX = 65, DIGEST_SHA1_BASE64 = 29 }; /* sizes with the NUL */

/* Lower-case hex of SHA-256; ret holds DIGEST_SHA256_HEX. */
void digest_sha256_hex(const void *bytes, size_t len, char *ret);

/* base64(sha1(text)), as ZooKeeper's digest ACLs want it; ret holds DIGEST_SHA1_BASE64. */
void digest_sha1_base64(const void *bytes, size_t len, char *ret);

/* The same time whatever differs: for secrets. */
bool digest_equal_secret(const char *a, const char *b);
