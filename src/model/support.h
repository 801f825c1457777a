/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>

/* Does this evaluated Job ask for something that a davit cluster does not have: containers, GPUs,
 * another executor?  ERR_CONFIG in the words of Aurora's scheduler, which could be set up without
 * them. */
int support_check(const json_t *job, struct err *err);
