/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

enum {
    ID_UUID_SIZE = 37,  /* with the NUL */
    ID_TOKEN_SIZE = 33, /* 128 bits in hex, with the NUL */
};

/* A random version 4 UUID, lower case. */
void id_uuid(char *ret);

/* Unguessable: for hook tokens, run ids, secrets. */
void id_token(char *ret);

bool id_is_uuid(const char *s);
