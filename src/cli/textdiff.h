/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What changed between two texts, line by line, as `diff -u` words it: headers "--- old_name" and
 * "+++ new_name", hunks with three lines around.  "" when they are equal.  The caller's. */
char *textdiff_unified(const char *old_name, const char *old_text, const char *new_name,
                       const char *new_text);
