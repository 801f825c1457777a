/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <sys/socket.h>

/* "HOST:PORT", the host numeric (v6 in brackets) or "localhost".  No name is
 * looked up: that may block, and glibc cannot do it in a static program. */
int hostport_parse(const char *text, struct sockaddr_storage *ret_addr, struct err *err);
