/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

/* "HOST:PORT", the host numeric (v6 in brackets) or "localhost"; ERR_USAGE for
 * anything else. */
int hostport_parse(const char *text, struct sockaddr_storage *ret_addr, struct err *err);

/* The text before the port, brackets kept; all of it when there is no ':'.  The caller's. */
char *hostport_host(const char *text);

/* 127.0.0.0/8 or ::1. */
bool hostport_is_loopback(const struct sockaddr_storage *addr);
