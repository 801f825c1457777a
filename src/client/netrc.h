/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The password of a host in ~/.netrc (machine entries, then `default`), where the Aurora client
 * looked for its own: ours is the cluster's token.  The caller's; NULL when there is none, or
 * when others may read the file. */
char *netrc_password(const char *host);
