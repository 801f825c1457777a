/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shows on standard output what changed from one text to the other: by the program that
 * DIFF_VIEWER names (with two files as its last arguments), else as a unified diff. */
void diffviewer_show(const char *old_text, const char *new_text);
